"""GPU architectures: what an SM holds, and how many blocks of a kernel fit on one.

Source of the limits: CUDA C++ Programming Guide, appendix "Compute Capabilities", tables
"Feature Support and Technical Specifications per Compute Capability". Source of the occupancy
formula: NVIDIA's cuda_occupancy.h, which a test compares with where a CUDA toolkit is installed.
"""

from dataclasses import dataclass

from gemmbench.errors import GemmbenchError, did_you_mean

KIB = 1024
WARP = 32
REGISTERS = 65_536  # 32-bit ones of an SM, on every architecture here
REGISTER_UNIT = 256  # registers are given to a warp in portions of this many,
SCHEDULERS = 4  # from the quarter of the file that belongs to its scheduler
MOST_REGISTERS = 255  # of one thread
STATIC_SHARED = 48 * KIB  # more of it a block must ask for when it is launched


@dataclass(frozen=True, slots=True)
class Architecture:
    """Limits of one SM, and the size of a typical device, for when there is none to ask."""

    name: str  # "sm_90"
    threads: int
    blocks: int
    shared_bytes: int
    block_shared_bytes: int  # the most that one block may ask for
    reserved_shared_bytes: int  # taken by the system from each block
    shared_unit: int  # shared memory is given in portions of so many bytes
    lanes: int  # float32 multiply-adds in a clock
    multiprocessors: int  # of the device named in the comment below

    @property
    def copies_async(self) -> bool:
        """Whether it has cp.async."""
        return int(self.name.removeprefix("sm_")) >= 80


ARCHITECTURES = {
    arch.name: arch
    for arch in (
        Architecture("sm_75", 1024, 16, 64 * KIB, 64 * KIB, 0, 256, 64, 40),  # T4
        Architecture("sm_80", 2048, 32, 164 * KIB, 163 * KIB, KIB, 128, 64, 108),  # A100
        Architecture("sm_86", 1536, 16, 100 * KIB, 99 * KIB, KIB, 128, 128, 84),  # A40, RTX A6000
        Architecture("sm_87", 1536, 16, 164 * KIB, 163 * KIB, KIB, 128, 128, 16),  # Orin
        Architecture("sm_89", 1536, 24, 100 * KIB, 99 * KIB, KIB, 128, 128, 142),  # L40
        Architecture("sm_90", 2048, 32, 228 * KIB, 227 * KIB, KIB, 128, 128, 132),  # H100 SXM
        Architecture("sm_100", 2048, 32, 228 * KIB, 227 * KIB, KIB, 128, 128, 148),  # B200
        Architecture("sm_103", 2048, 32, 228 * KIB, 227 * KIB, KIB, 128, 128, 148),  # B300
        Architecture("sm_120", 1536, 24, 100 * KIB, 99 * KIB, KIB, 128, 128, 170),  # RTX 5090
        Architecture("sm_121", 1536, 24, 100 * KIB, 99 * KIB, KIB, 128, 128, 48),  # GB10
    )
}


def architecture(name: str) -> Architecture:
    """The architecture called `name`, such as "sm_90". Raises GemmbenchError for another."""
    if name not in ARCHITECTURES:
        raise GemmbenchError(f"--arch: got {name!r}.{did_you_mean(name, ARCHITECTURES)}")
    return ARCHITECTURES[name]


def resident_blocks(arch: Architecture, threads: int, registers: int, shared_bytes: int) -> int:
    """Blocks of a kernel that an SM runs at once; 0 if not even one fits.

    `threads` of a block, a multiple of 32; `registers` of a thread; `shared_bytes` of a block,
    static and dynamic together.
    """
    warps = threads // WARP
    warp_registers = -(-registers * WARP // REGISTER_UNIT) * REGISTER_UNIT
    file = REGISTERS // SCHEDULERS
    by_registers = file // warp_registers * SCHEDULERS // warps if registers else arch.blocks
    needed = shared_bytes + arch.reserved_shared_bytes
    allotted = -(-needed // arch.shared_unit) * arch.shared_unit
    by_shared = arch.shared_bytes // allotted if allotted else arch.blocks
    if shared_bytes > arch.block_shared_bytes or registers > MOST_REGISTERS:
        return 0
    return min(by_registers, by_shared, arch.threads // threads, arch.blocks)


def occupancy(arch: Architecture, threads: int, registers: int, shared_bytes: int) -> float:
    """Share of an SM's warps that are resident, in [0, 1]."""
    return resident_blocks(arch, threads, registers, shared_bytes) * threads / arch.threads
