"""Products by a shared library's C interface: CBLAS, or BLIS's own where CBLAS is left out.

Every integer is passed as 64 bits. On 64-bit little-endian Linux each argument has a register or
a stack slot of its own, so a library with 32-bit integers reads the right lower half, and one
build of these calls fits LP64 and ILP64 libraries alike.
"""

from collections.abc import Callable
from ctypes import CDLL, byref, c_double, c_float, c_int64, c_void_p
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from gemmbench.backend import Array
from gemmbench_backends.im2col import Multiply

ROW_MAJOR, PLAIN, TRANSPOSED = c_int64(101), c_int64(111), c_int64(112)  # cblas.h
BLIS_PLAIN = c_int64(0)  # BLIS_NO_TRANSPOSE and BLIS_NO_CONJUGATE, blis.h
CBLAS_SPELLINGS = ("cblas_{}", "scipy_cblas_{}", "cblas_{}64_", "scipy_cblas_{}64_")
LETTERS = {"float32": "s", "float64": "d"}
REALS: dict[str, Callable[[float], Any]] = {"float32": c_float, "float64": c_double}


class Calls(Protocol):
    """What a library can be asked. The call made keeps its arrays alive."""

    def gemm(self, a: Array, b: Array, c: Array) -> Multiply:
        """The call that computes c = a·b. a: (m, k), b: (k, n), c: (m, n) and row-major."""

    def gemv(self, a: Array, x: Array, y: Array) -> Multiply:
        """The call that computes y = a·x. a: (m, n), x: (n,), y: (m,)."""


def find_calls(library: CDLL) -> Calls | None:
    """The first interface that `library` exports, CBLAS before BLIS's; None if it has neither."""
    for spelling in CBLAS_SPELLINGS:
        if hasattr(library, spelling.format("sgemm")):
            return Cblas(library, spelling)
    return BlisTyped(library) if hasattr(library, "bli_sgemm") else None


@dataclass(frozen=True, slots=True)
class Cblas:
    """The C interface of the reference BLAS; `spelling` is how this library names its symbols."""

    library: CDLL
    spelling: str

    def gemm(self, a: Array, b: Array, c: Array) -> Multiply:
        """cblas_?gemm; an operand that is a transposed view is passed as such."""
        (trans_a, lda), (trans_b, ldb), (_, ldc) = _layout(a), _layout(b), _layout(c)
        (m, k), n, real = a.shape, b.shape[1], REALS[a.dtype.name]
        return self._call(
            "gemm", a, ROW_MAJOR, trans_a, trans_b, *_integers(m, n, k), real(1),
            _pointer(a), lda, _pointer(b), ldb, real(0), _pointer(c), ldc,
        )  # fmt: skip

    def gemv(self, a: Array, x: Array, y: Array) -> Multiply:
        """cblas_?gemv; a transposed view is passed as such."""
        trans, lda = _layout(a)
        stored = a.T.shape if trans is TRANSPOSED else a.shape
        real = REALS[a.dtype.name]
        return self._call(
            "gemv", a, ROW_MAJOR, trans, *_integers(*stored), real(1),
            _pointer(a), lda, _pointer(x), *_strides(x), real(0), _pointer(y), *_strides(y),
        )  # fmt: skip

    def _call(self, name: str, a: Array, *arguments: Any) -> Multiply:
        return _bind(self.library, self.spelling.format(LETTERS[a.dtype.name] + name), *arguments)


@dataclass(frozen=True, slots=True)
class BlisTyped:
    """BLIS's typed interface, which takes both strides of a matrix.

    Source: https://github.com/flame/blis/blob/master/docs/BLISTypedAPI.md, gemm and gemv.
    """

    library: CDLL

    def gemm(self, a: Array, b: Array, c: Array) -> Multiply:
        """bli_?gemm."""
        (m, k), n, real = a.shape, b.shape[1], REALS[a.dtype.name]
        return _bind(
            self.library, f"bli_{LETTERS[a.dtype.name]}gemm",
            BLIS_PLAIN, BLIS_PLAIN, *_integers(m, n, k), byref(real(1)),
            _pointer(a), *_strides(a), _pointer(b), *_strides(b), byref(real(0)),
            _pointer(c), *_strides(c),
        )  # fmt: skip

    def gemv(self, a: Array, x: Array, y: Array) -> Multiply:
        """bli_?gemv."""
        real = REALS[a.dtype.name]
        return _bind(
            self.library, f"bli_{LETTERS[a.dtype.name]}gemv",
            BLIS_PLAIN, BLIS_PLAIN, *_integers(*a.shape), byref(real(1)),
            _pointer(a), *_strides(a), _pointer(x), *_strides(x), byref(real(0)),
            _pointer(y), *_strides(y),
        )  # fmt: skip


def multiply_vector(calls: Calls, a: Array, b: Array, c: Array) -> Multiply:
    """`Calls.gemm` by `Calls.gemv`, where m or n is 1."""
    if b.shape[1] == 1:
        return calls.gemv(a, b[:, 0], c[:, 0])
    return calls.gemv(b.T, a[0], c[0])


def bind_each(
    multiply: Callable[[Array, Array, Array], Multiply], left: Array, right: Array, product: Array
) -> Multiply:
    """One call for the products of all leading axes, each of them by `multiply`."""
    outer = product.shape[:-2]
    if not outer:
        return multiply(left, right, product)
    lefts = np.broadcast_to(left, (*outer, *left.shape[-2:]))
    rights = np.broadcast_to(right, (*outer, *right.shape[-2:]))
    calls = [multiply(lefts[i], rights[i], product[i]) for i in np.ndindex(*outer)]
    return calls[0] if len(calls) == 1 else partial(_run_all, calls)


def _run_all(calls: list[Multiply]) -> None:
    for call in calls:
        call()


def _bind(library: CDLL, name: str, *arguments: Any) -> Multiply:
    """The call with its arguments converted once: converting them each time takes microseconds."""
    function = getattr(library, name)
    function.restype = None
    return partial(function, *arguments)


def _layout(matrix: Array) -> tuple[c_int64, c_int64]:
    """CBLAS's transposition and leading dimension of a view of a row-major matrix."""
    rows, columns = matrix.shape
    down, right = (stride // matrix.itemsize for stride in matrix.strides)
    if right == 1 or columns == 1:
        return PLAIN, c_int64(columns if rows == 1 else down)
    return TRANSPOSED, c_int64(right)


def _pointer(array: Array) -> c_void_p:
    """The address of the first element, which keeps the array alive."""
    return array.ctypes.data_as(c_void_p)


def _strides(array: Array) -> tuple[c_int64, ...]:
    """In elements. NumPy gives an axis of one element any stride, even 0, which BLIS refuses."""
    pairs = zip(array.shape, array.strides, strict=True)
    return _integers(
        *(stride // array.itemsize if size > 1 else array.size for size, stride in pairs)
    )


def _integers(*values: int) -> tuple[c_int64, ...]:
    return tuple(c_int64(value) for value in values)
