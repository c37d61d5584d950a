"""The micro-kernel of complex planes: a register block of pixels × filters, in two parts.

Real and imaginary parts lie apart, so that every register holds one kind, and a step is four
products: c.re += a.re·b.re - a.im·b.im, c.im += a.re·b.im + a.im·b.re. Three products by Gauss's
rearrangement were slower in every case: they move half as much again.
"""

from dataclasses import dataclass

from gemmbench_backends.numba_cpu.convolution.panelkernel import LINE_BYTES
from gemmbench_backends.numba_cpu.emit import Function, Values, Vector

PARTS = ("re", "im")


@dataclass(frozen=True, slots=True)
class ComplexKernel:
    """One variant: its register block, of two registers each, and how far ahead it asks."""

    rows: int
    vectors: int
    vector: Vector
    ahead_bytes: int = 0

    def name(self) -> str:
        """A symbol that no other variant has."""
        size = f"{self.rows}x{self.vectors}"
        return f"complex_{size}_{self.vector.suffix}_ahead{self.ahead_bytes}"


def complexkernel_ir(kernel: ComplexKernel) -> str:
    """The module of `void name(k, a, a_im, rows, b, b_im, c, c_im, ldc)`.

    Row i of A begins at a + rows[i]; `*_im`: bytes from the real parts to the imaginary ones.
    """
    parameters = [
        ("i64", "k"), ("ptr noalias", "a"), ("i64", "a_im"), ("ptr noalias", "rows"),
        ("ptr noalias", "b"), ("i64", "b_im"), ("ptr noalias", "c"), ("i64", "c_im"),
        ("i64", "ldc"),
    ]  # fmt: skip
    f = Function(kernel.name(), parameters, kernel.vector)
    pixels = []
    for i in range(kernel.rows):
        offset = f.new(f"load i64, ptr {f.at('%rows', 8 * i)}, align 8")
        pixels.append(f.at("%a", offset))
    zero = (kernel.vector.type, "zeroinitializer")
    state: Values = {"b": ("ptr", "%b"), "at": ("i64", "0"), "at_im": ("i64", "%a_im")}
    state |= {
        f"{part}{i}.{j}": zero
        for part in PARTS for i in range(kernel.rows) for j in range(kernel.vectors)
    }  # fmt: skip
    state = f.loop("%k", state, _Step(f, kernel, pixels).emit)
    row = "%c"
    for i in range(kernel.rows):
        for j in range(kernel.vectors):
            where = f.at(row, j * kernel.vector.nbytes)
            f.store(state[f"re{i}.{j}"][1], where)
            f.store(state[f"im{i}.{j}"][1], f.at(where, "%c_im"))
        row = f.at(row, "%ldc")
    return f.text()


@dataclass(frozen=True, slots=True)
class _Step:
    """One rank-1 update of the block: the body of the loop along k."""

    f: Function
    kernel: ComplexKernel
    pixels: list[str]

    def emit(self, state: Values) -> Values:
        """The carried values, one step later."""
        f, vector, state = self.f, self.kernel.vector, dict(state)
        panel = state["b"][1]
        imaginary = f.at(panel, "%b_im")
        steps = range(self.kernel.vectors)
        b_re = [f.load(f.at(panel, j * vector.nbytes)) for j in steps]
        b_im = [f.load(f.at(imaginary, j * vector.nbytes)) for j in steps]
        width = self.kernel.vectors * vector.nbytes
        if self.kernel.ahead_bytes:
            for line in range(0, width, LINE_BYTES):
                for where in (panel, imaginary):
                    f.prefetch(f.at(where, self.kernel.ahead_bytes + line))
        for i, pixel in enumerate(self.pixels):
            a_re = f.splat(f.load_scalar(f.at(pixel, state["at"][1])))
            a_im = f.splat(f.load_scalar(f.at(pixel, state["at_im"][1])))
            minus = f.new(f"fneg {vector.type} {a_im}")
            for j in steps:
                self._add(state, f"re{i}.{j}", a_re, b_re[j])
                self._add(state, f"im{i}.{j}", a_re, b_im[j])
                self._add(state, f"re{i}.{j}", minus, b_im[j])
                self._add(state, f"im{i}.{j}", a_im, b_re[j])
        state["b"] = ("ptr", f.at(panel, width))
        for key in ("at", "at_im"):
            state[key] = ("i64", f.new(f"add i64 {state[key][1]}, {vector.itemsize}"))
        return state

    def _add(self, state: Values, key: str, a: str, b: str) -> None:
        kind, total = state[key]
        state[key] = (kind, self.f.fma(a, b, total))
