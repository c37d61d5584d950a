"""The configs that a model of the machine picks for the convolutions by blocks: nothing measured.

The time of a block is counted in cycles: products by how full their register blocks are, transforms
by the registers they move, and what does not fit a cache by how fast the next level delivers it.
The rates are those of a core of the last ten years, rounded; they order choices, nothing more.
"""

from dataclasses import dataclass

from gemmbench.machine import Machine
from gemmbench_backends.numba_cpu.emit import Vector
from gemmbench_backends.numba_cpu.model import L2_BYTES, Registers
from gemmbench_backends.numba_cpu.product import split

MOST_POINTERS = 8  # a row of the register block takes one of 16 general registers
FMAS_A_CYCLE = 2
MIN_ACCUMULATORS = 8  # FMA latency 4, two a cycle: fewer chains cannot keep the units busy
CALL_CYCLES = 30  # of a register block, beside its steps
L2_BYTES_A_CYCLE, L3_BYTES_A_CYCLE, MEMORY_BYTES_A_CYCLE = 24, 12, 8
SHARED_BYTES_A_CYCLE = 6  # of what another core has just written
TRANSFORM_CYCLES = 3  # of an element of a tile, a register at a time; a Fourier transform takes
FOURIER_CYCLES = 2  # this much for each halving
LAYOUT_CYCLES = 2  # of a register of pixels, between planes and lanes
JOIN_CYCLES = 16000  # until all threads have ended a phase, and begun the next
AHEAD_VALUES = (0, 2048)  # bytes: none, or about the latency of L3 at full speed


@dataclass(frozen=True, slots=True)
class Caches:
    """What the model knows of a machine's memory: L2 is a thread's own, all else is shared."""

    l2_bytes: int
    l3_bytes: int
    threads: int

    def cycles(self, nbytes: float, own: float, common: float = 0.0) -> float:
        """Cycles to read `nbytes` again and again, part of a set that large; 0 from L2.

        Every thread has a set of `own` bytes, beside some that are `common` to all.
        """
        if own + common <= self.l2_bytes:
            return 0.0
        # The last level is read and written at once: a part of it can be counted on. Memory serves
        # some threads faster than one, but not as many times.
        fast = self.threads * own + common <= self.l3_bytes / 2
        return nbytes / (L3_BYTES_A_CYCLE if fast else MEMORY_BYTES_A_CYCLE / self.threads**0.5)


def caches(machine: Machine, threads: int) -> Caches:
    """The caches of `machine`; without a third level, memory comes next."""
    l2 = machine.l2_bytes or L2_BYTES
    return Caches(l2, max(l2, machine.l3_bytes), threads)


def register_blocks(regs: Registers, filters: int, parts: int = 1) -> list[tuple[int, int]]:
    """Register blocks (pixels, vectors of filters) that are nearly full, narrowest first.

    Of complex numbers, `parts` is 2, and so are the registers of each and of each filter.
    """
    vectors = -(-filters // regs.vector.lanes)
    found = set()
    for nv in range(1, 5):
        free = regs.count - parts * (nv + 1) + (parts - 1)
        tallest = min(MOST_POINTERS, free // (parts * nv))
        size, wider, _ = split(vectors, nv)
        found |= {(mr, size + (wider > 0)) for mr in (tallest, tallest - 1) if mr > 0}
    return sorted(found, key=lambda block: (block[1], block[0]))


def grids(threads: int, units: int, panels: int) -> list[tuple[int, int]]:
    """Ways to lay the threads over units and panels of filters."""
    ways = [(d, threads // d) for d in range(1, threads + 1) if threads % d == 0]
    usable = [(a, b) for a, b in ways if a <= units and b <= panels]
    return usable or [(1, 1)]


def product_cycles(
    pixels: int, depth: int, filters: int, block: tuple[int, int], vector: Vector, parts: int = 1
) -> float:
    """Cycles of (pixels, depth) by (depth, filters), real or (`parts` = 2) complex."""
    mr, nv = block
    _, _, panels = split(-(-filters // vector.lanes), nv)
    tiles = -(-pixels // mr)
    chains = parts * pixels / tiles * -(-filters // vector.lanes) / panels
    fmas = parts * max(chains, MIN_ACCUMULATORS)
    # A panel that every block of pixels reads again comes from L2.
    step = max(fmas / FMAS_A_CYCLE, parts * nv * vector.nbytes / L2_BYTES_A_CYCLE)
    return tiles * panels * (depth * step + CALL_CYCLES)
