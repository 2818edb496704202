"""The update of a training step: the energy's gradient, and Adam or KFAC (kfac-jax) on it.

The gradient is that of the energy's expectation, 2 <(E_loc - <E_loc>) grad log|psi|>, with local energies clipped around their median. KFAC
preconditions it with the Fisher matrix of |psi|^2, estimated on the same walkers, with the settings of deepqmc 1.2.0's
``task/opt/kfac.yaml``: learning rate, damping, norm constraint, inverses anew in each step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from traces.workloads.vmc.kfac import blocks, import_kfac, quiet

CLIP = 5.0
"""Local energies further from their median than this many mean deviations are clipped."""

ADAM_RATE = 1e-3
KFAC_RATE, KFAC_DECAY = 0.05, 10_000.0
DAMPING, NORM_CONSTRAINT = 1e-3, 1e-3

LogPsi = Callable[[Any, Any], Any]
"""(parameters, configuration) -> log|psi| of all walkers [batch]; the configuration is a dictionary of arrays, 'r' leads with walkers."""


def clipped(energies: Any) -> Any:
    """Clip local energies [batch] to the median plus and minus ``CLIP`` mean absolute deviations."""
    import jax.numpy as jnp

    centre = jnp.median(energies)
    width = CLIP * jnp.mean(jnp.abs(energies - centre))
    return jnp.clip(energies, centre - width, centre + width)


def energy_and_gradient(log_psi: LogPsi, params: Any, configuration: Any, energies: Any) -> tuple[Any, Any]:
    """Return the mean energy and the gradient of its expectation, like the parameters."""
    import jax
    import jax.numpy as jnp

    with jax.named_scope("phase_gradient"):
        kept = clipped(energies)
        weights = 2 * (kept - jnp.mean(kept)) / kept.size
        gradient = jax.grad(lambda p: jnp.sum(weights * log_psi(p, configuration)))(params)
        return jnp.mean(energies), gradient


class Optimizer(Protocol):
    """What a training step needs; both methods may be traced."""

    def init(self, params: Any, configuration: Any, energies: Any, key: Any) -> Any:
        """Return the initial state."""
        ...

    def step(self, params: Any, state: Any, configuration: Any, energies: Any, key: Any) -> tuple[Any, Any, dict[str, Any]]:
        """Return new parameters, new state, and statistics."""
        ...


@dataclass(frozen=True)
class Adam:
    """Adam (optax) with a constant learning rate."""

    log_psi: LogPsi

    @cached_property
    def _adam(self) -> Any:
        import optax

        return optax.adam(ADAM_RATE)

    def init(self, params: Any, configuration: Any, energies: Any, key: Any) -> Any:
        return self._adam.init(params)

    def step(self, params: Any, state: Any, configuration: Any, energies: Any, key: Any) -> tuple[Any, Any, dict[str, Any]]:
        import jax
        import optax

        mean, gradient = energy_and_gradient(self.log_psi, params, configuration, energies)
        with jax.named_scope("phase_optimizer"):
            updates, state = self._adam.update(gradient, state, params)
            return optax.apply_updates(params, updates), state, {"energy": mean}


@dataclass(frozen=True)
class Kfac:
    """KFAC (kfac-jax)."""

    log_psi: LogPsi

    @cached_property
    def _kfac(self) -> Any:
        kfac_jax = import_kfac()

        return kfac_jax.Optimizer(
            value_and_grad_func=self._value_and_gradient,
            l2_reg=0.0,
            value_func_for_estimator=self._registered,
            learning_rate_schedule=lambda step: KFAC_RATE / (1 + step / KFAC_DECAY),
            damping_schedule=lambda step: DAMPING + 0.0 * step,
            norm_constraint=NORM_CONSTRAINT,
            estimation_mode="fisher_exact",
            num_burnin_steps=0,
            inverse_update_period=1,
            multi_device=False,
            layer_tag_to_block_ctor=blocks(),
            auto_register_kwargs={"graph_patterns": kfac_jax.tag_graph_matcher.DENSE_GRAPH_PATTERNS},
            batch_size_extractor=lambda batch: batch[0]["r"].shape[0],
        )

    def _value_and_gradient(self, params: Any, batch: Any) -> tuple[Any, Any]:
        return energy_and_gradient(self.log_psi, params, *batch)

    def _registered(self, params: Any, batch: Any) -> Any:
        """The function whose Fisher matrix is estimated: log|psi| as the mean of a normal distribution."""
        import jax.numpy as jnp

        kfac_jax = import_kfac()

        log = self.log_psi(params, batch[0])
        kfac_jax.register_normal_predictive_distribution(log[:, None])
        return jnp.mean(log)

    def init(self, params: Any, configuration: Any, energies: Any, key: Any) -> Any:
        with quiet():
            return self._kfac.init(params, key, (configuration, energies))

    def step(self, params: Any, state: Any, configuration: Any, energies: Any, key: Any) -> tuple[Any, Any, dict[str, Any]]:
        import jax

        with quiet(), jax.named_scope("phase_optimizer"):
            step = self._kfac.step
            params, state, told = step(params, state, key, batch=(configuration, energies), momentum=0.0, global_step_int=1)
            return params, state, {"energy": told["loss"], "update": told["scaled_grad_norm_sq"]}


def optimizer(name: str, log_psi: LogPsi) -> Optimizer:
    """Return the optimiser 'adam' or 'kfac' of a wave function."""
    return Adam(log_psi) if name == "adam" else Kfac(log_psi)
