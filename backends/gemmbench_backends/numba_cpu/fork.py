"""One parallel loop. It is compiled apart from the driver, which it only knows by address, so a
change of the driver cannot leave a stale copy of it in Numba's cache of this file.
"""

# Numba types what it compiles itself; to mypy an intrinsic lacks the arguments it is called with.
# mypy: disable-error-code="call-arg, untyped-decorator"

from typing import Any

from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic


@intrinsic
def _share_of(_context: Any, _function: Any, _argument: Any, _thread: Any) -> Any:
    """Call the C function at the first integer with the other two."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [word, word])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@njit([types.void(*[types.int64] * 4)], parallel=True, nogil=True, cache=True)
def fork(function: int, argument: int, threads: int, phases: int) -> None:
    """Every thread's share of `function(argument, phase * threads + thread)`, each on a thread of
    its own, which waits for all others after every phase.
    """
    for phase in range(phases):
        for thread in prange(threads):
            _share_of(function, argument, phase * threads + thread)
