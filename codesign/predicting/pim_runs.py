"""Runs of cycle-level PIM simulators: kernels by preset, size and settings. Cycles, times and counts in a table are not read.

What a simulator does otherwise than hardware would is a switch here and off in the devices of the catalogue: aim_simulator and
Pimba's never refresh, Pimba's waits where a refresh would be due, PIMSimulator leaves the read-out of results away.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from arch.pim import attention, global_buffer, registers, state_update
from codesign.predicting.columns import Labels, refuse, sizes, split
from codesign.predicting.pim_settings import Setting, Wrong, setting, simulator
from codesign.predicting.registry import Options, TableModel
from traces.errors import CodesignError, MachineError

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
Float = NDArray[np.float64]
Sizes = list[Float]

_LANES = 16
"""Elements of a column access, FP16."""
_DEFAULT_REGISTERS = 16
"""Accumulators that a register-reuse order of aim_simulator's traces uses where it does not say."""
_CENT_HEADS, _CENT_HEAD_DIM = 32.0, 128.0
"""CENT's attention score, as its traces have it: Llama 2 7B."""


def price(table: "pd.DataFrame", options: Options) -> "pd.DataFrame":
    """Return predicted_cycles and predicted_us of every row, null for the host's own kernels.

    Raises CodesignError naming the first row whose simulator, preset, kernel, size or option is not known.
    """
    import pandas as pd

    del options
    cycles, seconds = np.full(len(table), np.nan), np.zeros(len(table))
    simulators, presets, kernels, dtypes, said = (Labels.of(table, c) for c in ("simulator", "device_preset", "kernel", "dtype", "options"))
    dims = Labels.of(table, "dims")
    channels = sizes(table, "channels")
    banks = sizes(table, "banks")
    refuse(table, ~(channels >= 1) | (channels != np.floor(channels)), "channels", "a number of channels")
    host = np.array([name.upper().startswith("HOST") for name in kernels.names])[kernels.codes]
    for rows, (of, preset, kernel, dtype, text) in split((simulators, presets, kernels, dtypes, said)):
        if host[rows[0]]:
            continue
        known = _known(table, rows, "simulator", partial(simulator, of))
        run = _known(table, rows, "device_preset", partial(setting, known, preset, text))
        parse, clocks = _known(table, rows, "kernel", partial(_model, known, kernel))
        _check_banks(table, rows, banks, known)
        numbers = _sizes(table, rows, dims, parse)
        cycles[rows] = _known(table, rows, "kernel", partial(clocks, run, kernel, dtype, numbers, channels[rows]))
        seconds[rows] = run.clock_s
    return pd.DataFrame({"predicted_cycles": cycles, "predicted_us": 1e6 * cycles * seconds}, index=table.index)


def _known(table: "pd.DataFrame", rows: NDArray[np.intp], column: str, make: Callable[[], T]) -> T:
    """What ``make`` finds, or an error that names the row and the column."""
    try:
        return make()
    except (CodesignError, MachineError) as error:
        faulty = np.zeros(len(table), dtype=np.bool_)
        faulty[rows] = True
        refuse(table, faulty, error.column if isinstance(error, Wrong) else column, str(error))
        raise


_BANKS = {"pimsimulator": 16.0, "aim_simulator": 16.0, "attacc_simulator": 64.0, "pimba": 32.0}
"""Banks of a channel in every preset of a simulator, over all its pseudo-channels and ranks: those that one command drives."""


def _check_banks(table: "pd.DataFrame", rows: NDArray[np.intp], banks: Float, of: str) -> None:
    """Raise CodesignError naming the row if banks are given that the simulator's presets do not have; absent ones are theirs."""
    faulty = np.zeros(len(table), dtype=np.bool_)
    given = table["banks"].notna().to_numpy() if "banks" in table.columns else np.zeros(len(table), dtype=np.bool_)
    faulty[rows] = given[rows] & (banks[rows] != _BANKS[of])
    refuse(table, faulty, "banks", f"{_BANKS[of]:g}, as in all presets of {of}")


def _sizes(table: "pd.DataFrame", rows: NDArray[np.intp], dims: Labels, pattern: str) -> Sizes:
    """The numbers of ``dims`` by a pattern's groups; a group that is absent is 1."""
    import pandas as pd

    found = pd.Series(dims.names, dtype=str).str.extract(f"^{pattern}$")
    numbers = found.where(found.notna() | found[0].isna().to_numpy()[:, None], "1").astype(np.float64).to_numpy()[dims.codes]
    faulty = np.zeros(len(table), dtype=np.bool_)
    faulty[rows] = ~(numbers[rows] >= 1).all(axis=1)
    refuse(table, faulty, "dims", f"sizes above zero like {_EXAMPLES[pattern]}")
    return [numbers[rows, i] for i in range(numbers.shape[1])]


_MATRIX = r"(\d+)x(\d+)(?:xb(\d+))?"
_COUNT = r"(\d+)"
_HEADS = r"L(\d+)xheads(\d+)xdh(\d+)"
_STATE = r"n(\d+)x(\d+)x(\d+)"
_EXAMPLES = {_MATRIX: "1024x4096 or 1024x4096xb2", _COUNT: "1024", _HEADS: "L2048xheads32xdh128", _STATE: "n32x64x128"}
Clocks = Callable[[Setting, str, str, Sizes, Float], Float]


_ON, _OFF = ("true", "on", "yes", "1"), ("false", "off", "no", "0")


def _need_on(run: Setting, *names: str) -> None:
    """Raise CodesignError for options of a simulator that are switched off, where the closed forms know only how it runs with them."""
    for name in names:
        value = run.options.get(name, "true")
        if value in _OFF:
            raise Wrong("options", f"such that {name}=True: how the simulator runs without it is not modelled")
        if value not in _ON:
            raise Wrong("options", f"such that {name} is True, not {value!r}")


def _need_halves(dtype: str) -> None:
    """Raise CodesignError for elements that are not of two bytes: the units' columns hold 16 of them."""
    if dtype.lower() not in ("fp16", "bf16", "f16", "float16", "bfloat16"):
        raise Wrong("dtype", "fp16 or bf16")


def _need_pim(run: Setting) -> None:
    """Raise CodesignError for a run without PIM that does not say so in its kernel's name."""
    if run.options.get("mode", "pim").startswith("host"):
        raise CodesignError("one of the host (HOST_...) where mode is HOST")


def _registers_gemv(run: Setting, kernel: str, dtype: str, dims: Sizes, channels: Float) -> Float:
    rows, columns, batch = dims
    _need_halves(dtype)
    _need_pim(run)
    shape = registers.Shape()
    units = float(run.options.get("pim_blocks/ch", "8"))
    outputs = np.ceil(rows / (channels * units * shape.run))
    inputs = np.ceil(np.ceil(columns / _LANES) / shape.run)
    return registers.gemv(run.timing, outputs, inputs, batch, refresh=run.refresh, tree=kernel == "GEMVTREE").total


def _registers_elementwise(run: Setting, kernel: str, dtype: str, dims: Sizes, channels: Float) -> Float:
    _need_halves(dtype)
    _need_pim(run)
    tile = registers.PARK_BANKS * registers.Shape().run
    tiles = np.floor(dims[0] / _LANES / (channels * tile))  # what does not fill a tile is left out
    reads = np.full(len(tiles), 1.0 if kernel == "RELU" else 2.0)
    return registers.elementwise(run.timing, np.maximum(tiles, 1.0), reads, refresh=run.refresh).total


def _aim_gemv(run: Setting, kernel: str, dtype: str, dims: Sizes, channels: Float) -> Float:
    _need_halves(dtype)
    order = run.options.get("order", "no-reuse")
    if order not in ("no-reuse", "reuse-gb"):
        raise Wrong("options", f"such that order is no-reuse or reuse-GB, not {order!r}")
    count = 1 if order == "no-reuse" else int(float(run.options.get("reuse", _DEFAULT_REGISTERS)))
    return global_buffer.gemv(run.timing, dims[0], dims[1], channels, max(count, 1), kernel == "GEMV_AF")


def _attention(run: Setting, kernel: str, dtype: str, dims: Sizes, channels: Float) -> Float:
    level = kernel.partition("_")[2]
    if run.options.get("pim", level) != level:
        raise CodesignError(f"ATTN_{run.options['pim']} where the options say pim={run.options['pim']}")
    element = {"fp16": 2.0, "bf16": 2.0, "int8": 1.0, "fp32": 4.0}.get(dtype.lower())
    if element is None:
        raise Wrong("dtype", "fp16, bf16, int8 or fp32")
    positions, heads, head_dim = dims
    work = attention.Heads(positions, heads, head_dim, element, channels)
    return attention.clocks(_powered(run), level, work, refresh=run.refresh)


def _powered(run: Setting) -> Mapping[str, float]:
    """The column interval of all banks is the power limit's; an option may lift it where the preset has it."""
    limited = run.options.get("power_constraint")
    if limited == "false" and run.entry.id == "dram-hbm3-attacc":
        return {**run.timing, "nCCDAB": run.timing["nCCDL"], "nCCDSB": run.timing["nCCDL"]}
    return run.timing


def _state(run: Setting, kernel: str, dtype: str, dims: Sizes, channels: Float) -> Float:
    operation, _, design = kernel.partition("_")
    _need_on(run, "chunk_group", "command_scheduling")
    try:
        element = float(dtype.rstrip("Bb"))
    except ValueError:
        raise Wrong("dtype", "a width like 1B or 2B") from None
    heads, rows, columns = dims
    found = state_update.rounds(operation, design, heads, rows, columns, element, channels)
    return state_update.clocks(run.timing, found, waits_at_refresh=True)


def _designs() -> dict[str, tuple[str, Clocks]]:
    names = (f"{operation}_{design}" for operation in state_update.OPERATIONS for design in state_update.DESIGNS)
    return dict.fromkeys(names, (_STATE, _state))


KERNELS: dict[str, dict[str, tuple[str, Clocks]]] = {
    "pimsimulator": {
        "GEMV": (_MATRIX, _registers_gemv),
        "GEMVTREE": (_MATRIX, _registers_gemv),
        **dict.fromkeys(("ADD", "MUL", "RELU"), (_COUNT, _registers_elementwise)),
    },
    "aim_simulator": {
        "GEMV": (_MATRIX, _aim_gemv),
        "GEMV_AF": (_MATRIX, _aim_gemv),
        "AF_only": (_COUNT, lambda run, kernel, dtype, dims, channels: global_buffer.activations(run.timing, dims[0])),
        "EWMUL": (_COUNT, lambda run, kernel, dtype, dims, channels: global_buffer.elementwise(run.timing, dims[0], channels)),
        "CENT_score": (
            _COUNT,
            lambda run, kernel, dtype, dims, channels: global_buffer.score(
                run.timing, dims[0], np.full(len(channels), _CENT_HEADS), np.full(len(channels), _CENT_HEAD_DIM), channels
            ),
        ),
        "COPY_BKGB": (_COUNT, lambda run, kernel, dtype, dims, channels: global_buffer.copy(run.timing, dims[0], to_buffer=True)),
        "COPY_GBBK": (_COUNT, lambda run, kernel, dtype, dims, channels: global_buffer.copy(run.timing, dims[0], to_buffer=False)),
        "WR_GB": (_COUNT, lambda run, kernel, dtype, dims, channels: global_buffer.write_buffer(run.timing, dims[0])),
    },
    "attacc_simulator": {f"ATTN_{level}": (_HEADS, _attention) for level in attention.LEVELS},
    "pimba": _designs(),
}
"""How each kernel of each simulator writes its size, and its closed form."""


def _model(of: str, kernel: str) -> tuple[str, Clocks]:
    if kernel not in KERNELS[of]:
        raise CodesignError(f"a kernel of {of}: {', '.join(KERNELS[of])} (or one of the host, HOST_...)")
    return KERNELS[of][kernel]


def notes(table: "pd.DataFrame") -> list[str]:
    """Return a sentence if rows are the host's own: no PIM runs in them, nothing is predicted."""
    rows = int(table["kernel"].astype(str).str.upper().str.startswith("HOST").sum())
    return [f"{rows:,} rows are the host's own kernels, without PIM: predicted_us is empty there"] if rows else []


MODEL = TableModel(
    name="PIM runs",
    columns=frozenset({"simulator", "device_preset", "kernel", "dims", "dtype", "channels", "banks", "options"}),
    added=("predicted_cycles", "predicted_us"),
    price=price,
    predicted="predicted_us",
    measured="time_us",
    groups=("simulator", "kernel"),
    notes=notes,
)
