"""The convolutions' micro-kernel: a register block of pixels × filters, as LLVM IR.

                            vectors × lanes filters
                          ┌────────┬────────┐
      one step of the  →  │   b0   │   b1   │    a panel of weights, packed ahead
      panel               └────────┴────────┘
    a pixel's channel     ┌────────┬────────┐
      ┌────┐              │ c00    │ c01    │    c[i][j] += a[i] · b[j]
      │ a0 │ splat →      │ c10    │ c11    │
      │ a1 │              │  …     │  …     │
      └────┘              └────────┴────────┘

Pixels are rows wherever a table says, so a block may run on into the next row of the image. A
filter's taps are read in place, each tap (or row of taps) a run of `inner` adjacent elements at an
offset from the pixel: nothing is copied, whatever the stride and the dilation. The block stays in
registers for all of a chunk; a kernel that adds then adds it to C, whose error grows with the
length of a chunk and the number of chunks, not with their product.

It differs from `microkernel.py` in that: rows by table, two loops along k, a panel always whole.
"""

from dataclasses import dataclass

from gemmbench_backends.numba_cpu.emit import Function, Values, Vector

LINE_BYTES = 64


@dataclass(frozen=True, slots=True)
class PanelKernel:
    """One variant: its register block, and what it does beside multiplying."""

    rows: int
    vectors: int
    vector: Vector
    unroll: int = 1
    adds: bool = False  # to C, which otherwise is overwritten
    ahead_bytes: int = 0  # how far ahead of the panel is asked for; 0: nothing is

    def name(self) -> str:
        """A symbol that no other variant has."""
        parts = [f"panel_{self.rows}x{self.vectors}", self.vector.suffix, f"u{self.unroll}"]
        flags = ((self.adds, "adds"), (self.ahead_bytes > 0, f"ahead{self.ahead_bytes}"))
        return "_".join(parts + [label for on, label in flags if on])


def panelkernel_ir(kernel: PanelKernel) -> str:
    """The module of `void name(taps, offsets, inner, a, rows, b, c, ldc)`.

    Row i of A begins at a + rows[i] and goes on for `inner` elements at each of the `taps` offsets
    from there; C's rows are `ldc` bytes apart. Offsets are bytes, tables hold i64.
    """
    parameters = [
        ("i64", "taps"), ("ptr noalias", "offsets"), ("i64", "inner"), ("ptr noalias", "a"),
        ("ptr noalias", "rows"), ("ptr noalias", "b"), ("ptr noalias", "c"), ("i64", "ldc"),
    ]  # fmt: skip
    f = Function(kernel.name(), parameters, kernel.vector)
    pixels = [f.at("%a", _entry(f, "%rows", i)) for i in range(kernel.rows)]
    trips = f.new(f"udiv i64 %inner, {kernel.unroll}")
    rest = f.new(f"urem i64 %inner, {kernel.unroll}")
    zero = (kernel.vector.type, "zeroinitializer")
    start: Values = {"b": ("ptr", "%b"), "offsets": ("ptr", "%offsets")}
    block = {f"c{i}.{j}": zero for i in range(kernel.rows) for j in range(kernel.vectors)}

    def tap(state: Values) -> Values:
        offset = _entry(f, state["offsets"][1], 0)
        step = _Step(f, kernel, [f.at(pixel, offset) for pixel in pixels])
        inner = {key: value for key, value in state.items() if key != "offsets"}
        inner = f.loop(trips, {**inner, "at": ("i64", "0")}, step.whole)
        if kernel.unroll > 1:
            inner = f.loop(rest, inner, step.single)
        moved = {"offsets": ("ptr", f.at(state["offsets"][1], 8))}
        return {key: inner[key] for key in state if key != "offsets"} | moved

    state = f.loop("%taps", start | block, tap)
    _write_block(f, kernel, state)
    return f.text()


@dataclass(frozen=True, slots=True)
class _Step:
    """The body of the inner loop: `unroll` rank-1 updates of the block, or a single one."""

    f: Function
    kernel: PanelKernel
    pixels: list[str]

    def whole(self, state: Values) -> Values:
        """The carried values, `unroll` steps later."""
        return self._emit(state, self.kernel.unroll)

    def single(self, state: Values) -> Values:
        """The carried values, one step later."""
        return self._emit(state, 1)

    def _emit(self, state: Values, count: int) -> Values:
        f, vector, state = self.f, self.kernel.vector, dict(state)
        width = self.kernel.vectors * vector.nbytes
        panel, at = state["b"][1], state["at"][1]
        if self.kernel.ahead_bytes:
            for line in range(0, count * width, LINE_BYTES):
                f.prefetch(f.at(panel, self.kernel.ahead_bytes + line))
        for step in range(count):
            b = [
                f.load(f.at(panel, step * width + j * vector.nbytes))
                for j in range(self.kernel.vectors)
            ]
            for i, pixel in enumerate(self.pixels):
                where = f.at(f.at(pixel, at), step * vector.itemsize)
                a = f.splat(f.load_scalar(where))
                for j, column in enumerate(b):
                    kind, total = state[f"c{i}.{j}"]
                    state[f"c{i}.{j}"] = (kind, f.fma(a, column, total))
        state["b"] = ("ptr", f.at(panel, count * width))
        state["at"] = ("i64", f.new(f"add i64 {at}, {count * vector.itemsize}"))
        return state


def _entry(f: Function, table: str, i: int) -> str:
    return f.new(f"load i64, ptr {f.at(table, 8 * i)}, align 8")


def _write_block(f: Function, kernel: PanelKernel, state: Values) -> None:
    row = "%c"
    for i in range(kernel.rows):
        for j in range(kernel.vectors):
            where, (kind, total) = f.at(row, j * kernel.vector.nbytes), state[f"c{i}.{j}"]
            if kernel.adds:
                total = f.new(f"fadd {kind} {f.load(where)}, {total}")
            f.store(total, where)
        row = f.at(row, "%ldc")
