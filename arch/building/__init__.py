"""Machines by name: what their parts add, one kind of part a module, and the name that joins them."""

from arch.building.named import FIRST, load_device, machine

__all__ = ["FIRST", "load_device", "machine"]
