"""Runs a wave function's programs for real, step after step, on JAX's default device.

What one program leaves is what the next one takes, told by the names of their parameters.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from traces.workloads.workload import Program, Value, Workload


class Run:
    """The Markov chain, the local energy and, in training, the optimiser of one workload (``ferminet``, ``psiformer``, ...).

    Parameters
    ----------
    workload, settings
        What to run. Choose a small batch.
    seed
        Of parameters, walkers and everything drawn later.
    change
        Applied to each program's function before it is compiled; ``rounding.tf32`` for example.
    """

    def __init__(self, workload: Workload, settings: Mapping[str, Value], seed: int = 0, change: Callable[..., Any] = lambda f: f) -> None:
        import jax

        self.programs = {program.name: program for program in workload.programs(**settings)}
        self._compiled = {name: jax.jit(change(program.function)) for name, program in self.programs.items()}
        self.values: dict[str, Any] = {}
        for name in ("update", "sampling"):
            if name in self.programs:
                self.values |= _named(self.programs[name], seed)

    def sample(self) -> dict[str, np.ndarray]:
        """Make the transitions of one step; returns the sampler's statistics."""
        state, *rest = self._call("sampling")
        self.values |= {"state": state, "r": state["r"]}
        if len(rest) == 2:  # deepqmc's programs hand the configuration on as well
            self.values["configuration"] = rest[0]
        return {str(key): np.asarray(value) for key, value in rest[-1].items()}

    def local_energies(self) -> np.ndarray:
        """Return the local energies of the walkers [batch] in hartree."""
        self.values["energies"] = self._call("local_energy")
        return np.asarray(self.values["energies"])

    def update(self) -> dict[str, Any]:
        """Update the parameters with the local energies found last; returns the optimiser's statistics."""
        self.values["params"], self.values["optimizer_state"], told = self._call("update")
        self.values["state"] = self._call("refresh")
        return {key: float(value) for key, value in told.items()}

    def train(self, steps: int) -> np.ndarray:
        """Sample, estimate and update; returns the mean local energy of each step, before its update."""
        means = []
        for _ in range(steps):
            self.sample()
            means.append(float(self.local_energies().mean()))
            self.update()
        return np.array(means)

    def adopt(self, other: "Run") -> None:
        """Take over the parameters and walkers of another run; psi is evaluated anew, the step size is the sampler's first."""
        state = self.values["state"] | {"r": other.values["state"]["r"]}
        self.values |= {"params": other.values["params"], "state": state}
        self.values["state"] = self._call("refresh")

    def given(self, program: Program) -> list[Any]:
        """Return the arguments of a program of this workload, a new key among them if it takes one."""
        import jax

        self.values["key"], key = jax.random.split(self.values["key"])
        values = self.values | {"key": key}
        return [values[parameter] for parameter in _parameters(program)]

    def _call(self, name: str) -> Any:
        program = self.programs[name]
        with program.numerics():
            return self._compiled[name](*self.given(program))


def _parameters(program: Program) -> list[str]:
    return list(inspect.signature(program.function).parameters)


def _named(program: Program, seed: int) -> dict[str, Any]:
    return dict(zip(_parameters(program), program.arguments(seed), strict=True))
