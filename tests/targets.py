"""A GPU for tests that compile: an RTX A5000 by its data sheet, so that they depend on no catalogue."""

from traces.capture.target import CompileTarget

A5000 = CompileTarget(
    id="a5000",
    description="NVIDIA RTX A5000",
    compute_capability=(8, 6),
    core_count=64,
    fpus_per_core=128,
    clock_hz=1.695e9,
    memory_bandwidth=768.096e9,
    memory_bytes=25397952512,
    l2_bytes=6291456,
    shared_memory_per_block=49152,
    shared_memory_per_block_optin=101376,
    shared_memory_per_core=102400,
    threads_per_core=1536,
    registers_per_core=65536,
    registers_per_block=65536,
)
