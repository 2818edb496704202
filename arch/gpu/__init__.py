"""The price of a kernel on a GPU: a roofline whose terms know pipes, waves, occupancy, caches and latencies.

duration = floor + max(together(memory, on_sm), latency), where memory = max(l2, dram) and on_sm the longest of the others:

- ``compute_matrix``: multiply-adds of products, on tensor cores or, for FP32 at precision 'highest', on the vector pipes;
  a library call whose grid is unknown is tiled by ``arch.gemm``, FlashAttention by ``arch.attention_calls``; else blocks fall onto
  SMs in whole waves;
- ``compute_vector``: other arithmetic, one result a lane and clock (HLO arithmetic is not taken to fuse into multiply-adds);
- ``transcendental``: results of the special-function units;
- ``issue``: instructions of the PTX at one warp instruction a scheduler and clock, where they are known;
- ``solver``: LU and triangular solves, as the library was measured to take them (``arch.solvers``);
- ``l1``, ``l2``, ``dram``: bytes of ``arch.traffic`` over what streaming reaches (``arch.streaming``);
- ``latency``: turns of resident blocks times rounds of loads times the load latency (Little's law: a grid that keeps too few
  bytes in flight does not reach the bandwidth).

Memory and SM overlap but for the first turns of a grid. Compute terms use the busiest SM (ceil(blocks / SMs) blocks) and fall
short of the peak where fewer warps are resident than hide the arithmetic latency. Everything but the DRAM terms is worked out once
a trace and GPU; an operand that another device wrote last is cold and comes from DRAM.
"""

from arch.gpu.device import GPU

__all__ = ["GPU"]
