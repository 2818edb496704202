"""What a compiler must know about a GPU that is not there."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class CompileTarget:
    """A GPU as XLA describes it (stream_executor's GpuDeviceInfoProto). ``arch`` fills it from its catalogue.

    ``core_count`` is the number of streaming multiprocessors, ``fpus_per_core`` FP32 lanes of each; sizes in bytes, rates in
    bytes a second and hertz. Fields with defaults are the same for all NVIDIA GPUs since Kepler (CUDA C++ Programming
    Guide, table "Technical Specifications per Compute Capability"), or versions of the software that is assumed.
    """

    platform: ClassVar[str] = "cuda"

    id: str
    description: str
    compute_capability: tuple[int, int]
    core_count: int
    fpus_per_core: int
    clock_hz: float
    memory_bandwidth: float
    memory_bytes: int
    l2_bytes: int
    shared_memory_per_block: int
    shared_memory_per_block_optin: int
    shared_memory_per_core: int
    threads_per_core: int
    registers_per_core: int
    registers_per_block: int
    threads_per_block: int = 1024
    threads_per_warp: int = 32
    block_dim_limit: tuple[int, int, int] = (2147483647, 65535, 65535)
    cudnn_version: tuple[int, int, int] = (9, 7, 0)
    cuda_version: tuple[int, int, int] = (12, 9, 0)

    def config_text(self) -> str:
        """Return the protobuf text of XLA's GpuTargetConfigProto."""
        info = " ".join(f"{name}: {value}" for name, value in self._device_info().items())
        major, minor = self.compute_capability
        return (
            f"gpu_device_info {{ {info} cuda_compute_capability {{ major: {major} minor: {minor} }} }}\n"
            f'platform_name: "CUDA" dnn_version_info {{ {_version(self.cudnn_version)} }} '
            f'runtime_version {{ {_version(self.cuda_version)} }} device_description_str: "{self.description}"'
        )

    def _device_info(self) -> dict[str, int | float]:
        x, y, z = self.block_dim_limit
        return {
            "threads_per_block_limit": self.threads_per_block,
            "threads_per_warp": self.threads_per_warp,
            "shared_memory_per_block": self.shared_memory_per_block,
            "shared_memory_per_core": self.shared_memory_per_core,
            "threads_per_core_limit": self.threads_per_core,
            "core_count": self.core_count,
            "fpus_per_core": self.fpus_per_core,
            "block_dim_limit_x": x,
            "block_dim_limit_y": y,
            "block_dim_limit_z": z,
            "memory_bandwidth": round(self.memory_bandwidth),
            "l2_cache_size": self.l2_bytes,
            "clock_rate_ghz": self.clock_hz / 1e9,
            "device_memory_size": self.memory_bytes,
            "shared_memory_per_block_optin": self.shared_memory_per_block_optin,
            "registers_per_core_limit": self.registers_per_core,
            "registers_per_block_limit": self.registers_per_block,
        }


@dataclass(frozen=True)
class TpuTarget:
    """A TPU: the topology by which libtpu knows it (``v5e:2x2``), of which one device is compiled for."""

    id: str
    description: str
    topology: str
    platform: ClassVar[str] = "tpu"


def _version(parts: tuple[int, int, int]) -> str:
    return "major: {} minor: {} patch: {}".format(*parts)
