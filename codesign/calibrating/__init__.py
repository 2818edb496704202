"""Fits the constants of the GPU model that no source gives, and writes them as arch/catalog/calibrated.toml."""

from codesign.calibrating.calibrating import Calibration, calibrate

__all__ = ["Calibration", "calibrate"]
