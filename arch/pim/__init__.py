"""Processing in memory: time from counts of commands and named timing parameters, and what a unit can execute."""

from arch.pim.device import PIM

__all__ = ["PIM"]
