"""Executes PTX, the compiler's own output, on NumPy: one array element per CUDA thread.

What it proves: that the code NVRTC made of a kernel gives the right answer on the given shapes,
with every access inside its array and aligned, every read of shared memory ordered after the write
by a barrier whatever the order of the threads, every barrier reached by all threads of its block,
every asynchronous copy waited for. Each of those raises `PtxError`, as does any instruction that is
not known: nothing is guessed.

What it does not prove: that ptxas makes the right machine code of the PTX; anything about time,
occupancy, registers or memory limits; the driver, module loading and streams; races in global
memory beyond two threads touching an element that one of them wrote in the same launch; what lanes
of a warp may exchange without a barrier; denormal numbers, which the device flushes to zero and
this does not. A fused multiply-add is computed in double precision and rounded once more, which
differs from the device in rare cases: compare exactly on integers only.
"""

from .launch import Kernel, Launch
from .parse import PtxError

__all__ = ["Kernel", "Launch", "PtxError"]
