"""Rows for what each term of the GPU model buys: the error on the calibration table with the term switched off."""

from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codesign.validation.row import Row

if TYPE_CHECKING:
    import pandas as pd

EVERY = 10
"""Every tenth row of the table: medians change by a few thousandths."""
SMALL = 5e-4
"""Changes of a median up to this are not shown."""
NOTHING = 1e-9
"""As good as zero where a constant must be positive."""

OFF: Mapping[str, Mapping[str, float | tuple[float, ...]]] = {
    "the power cap": {"capped_energy_12nm": 1e-18, "capped_energy_7nm": 1e-18, "capped_energy_tensor": 1e-18},
    "loss of small tiles": {"gemm_tile_loss": NOTHING},
    "starts and stores of tiles": {"gemm_simt_tile_cycles": NOTHING, "gemm_tensor_tile_cycles": NOTHING, "gemm_turn_cycles": NOTHING},
    "warps that hide latency": {"gemm_simt_threads": NOTHING, "gemm_tensor_threads": NOTHING},
    "what memory and arithmetic do not overlap": {"gemm_sharpness": 50.0, "overlap_turns": NOTHING},
    "L1 between passes": {"reuse_l1_share": NOTHING},
    "misses of the table of pages": {"gemm_tlb_loss": NOTHING},
    "instructions of a row": {
        "block_softmax_instructions": NOTHING,
        "layernorm_row_instructions": NOTHING,
        "layernorm_step_instructions": NOTHING,
    },
    "sectors that are written in part": {"partial_fill": NOTHING},
}
"""Fitted constants that switch a term off, or make it free."""


def rows() -> Iterator[Row]:
    """Yield the median error by operator with each term off; the constants are not fitted again."""
    from codesign.calibrating.residuals import operators
    from codesign.predicting import predict

    table = _sample()
    kinds = operators(table)

    def medians(constants: Mapping[str, float | tuple[float, ...]]) -> dict[str, float]:
        predicted = predict(table, constants=constants)
        error = np.abs(predicted["predicted_us"] / predicted["latency_us"] - 1)
        return {str(kind): float(median) for kind, median in error.groupby(kinds).median().items()}

    full = medians({})
    yield from (_row("with-every-term", f"{kind}: median error with every term", error) for kind, error in full.items())
    for term, constants in OFF.items():
        for kind, error in medians(constants).items():
            if abs(error - full[kind]) > SMALL:
                yield _row(f"without-{term.replace(' ', '-')}", f"{kind}: median error without {term}", error)


def _row(name: str, quantity: str, error: float) -> Row:
    kind = quantity.partition(":")[0]
    configuration = "frozen constants but for those of the term; every tenth row of the calibration table above three times its floor"
    return Row(
        f"ablation/{name}/{kind}",
        quantity,
        published=None,
        ours=error,
        tolerance=None,
        configuration=configuration,
        source="arch/calibration/gpu_kernels.parquet",
    )


def _sample() -> "pd.DataFrame":
    """Return every tenth of the rows in which a kernel's time shows."""
    import pandas as pd

    from codesign.calibrating.residuals import FLOOR_QUANTILE, LONG

    path = Path(str(resources.files("arch") / "calibration" / "gpu_kernels.parquet"))
    table = pd.read_parquet(path)
    floor = table.groupby(["device", "op"])["latency_us"].transform(lambda times: times.quantile(FLOOR_QUANTILE))
    return table[table["latency_us"] > LONG * floor].iloc[::EVERY].reset_index(drop=True)
