"""A reconfigurable accelerator: an array with a few modes, each its own balance of compute, memory and buffers.

Alone, in one mode, a kernel takes floor + max(compute, memory), where

- compute is the longest of product, vector, transcendental and solver work. Products and factorisations fall onto the mode's
  arrays as ``arch.arrays`` says: padding, fill and drain are counted, there is no constant utilisation;
- memory is the bytes that the mode's buffers do not hold (operands kept since their last use; products that are too large are
  blocked and read again) over the bandwidth that the mode's address generators reach.

``price`` gives each kernel the mode that is best for it alone. ``arrange`` knows which kernels the device runs in what order:

- a mode holds for a whole run (``arch.runs``: region, phase and stage), chosen by ``arch.modes``;
- a switch at a run's border drains the array, writes live data of the buffers to memory (they are read again as cold operands) and
  loads a configuration; it is charged to the first kernel of the run;
- kernels of a chain (``arch.chains``) stream: one floor, a fill a kernel, and max(sum of compute, sum of memory), where what stays
  inside the chain moves no bytes. The chain's time is divided over its kernels: each its compute, the rest by what it took alone.
"""

from arch.reconfigurable.device import Reconfigurable, with_mode

__all__ = ["Reconfigurable", "with_mode"]
