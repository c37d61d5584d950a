"""The dot-product kernel: a block of C from rows of A and rows of Bᵀ, as LLVM IR.

                    rows of Bᵀ, lanes of k at a time
                     ┌ x0 ┬ x1 ┬ x2 ┐
      rows    ┌ w0 ┐ │ s00│ s01│ s02│    each s a register of partial sums,
      of A    └ w1 ┘ │ s10│ s11│ s12│    s[i][j] += w[i] * x[j] lane by lane
                     └────┴────┴────┘    and added across its lanes at the end

For products with a few columns (a fully connected layer of a few images), bound by how fast A
streams from memory: every register of A is a plain load, and no lane is lost to a short row of C.
C may be written in either orientation.
"""

from dataclasses import dataclass

from gemmbench_backends.numba_cpu.emit import Function, Values, Vector

_AHEAD_BYTES = 512  # how far ahead each row of A is prefetched: of 0 … 4096 best on Sapphire Rapids


@dataclass(frozen=True, slots=True)
class DotKernel:
    """One variant: how many rows of A by how many rows of Bᵀ."""

    rows: int
    columns: int
    vector: Vector
    unroll: int = 1

    def name(self) -> str:
        """A symbol that no other variant has."""
        return f"dot_{self.rows}x{self.columns}_{self.vector.suffix}_u{self.unroll}"


def dotkernel_ir(kernel: DotKernel) -> str:
    """The module of `void name(k, a, lda, b, ldb, c, row_step, column_step, scale)`.

    Strides are bytes. `scale` points at alpha and beta; C is not read where beta is 0.
    """
    parameters = [
        ("i64", "k"), ("ptr noalias", "a"), ("i64", "lda"), ("ptr noalias", "b"), ("i64", "ldb"),
        ("ptr noalias", "c"), ("i64", "row_step"), ("i64", "column_step"),
        ("ptr noalias", "scale"),
    ]  # fmt: skip
    f = Function(kernel.name(), parameters, kernel.vector)
    state: Values = {"at": ("i64", "0")}
    for i in range(kernel.rows):
        for j in range(kernel.columns):
            state[f"s{i}.{j}"] = (kernel.vector.type, "zeroinitializer")
    a_rows, b_rows = _rows(f, "%a", "%lda", kernel.rows), _rows(f, "%b", "%ldb", kernel.columns)

    def steps(count: int, mask: str | None, ahead: int) -> "Step":
        return Step(f, kernel, a_rows, b_rows, count, mask, ahead)

    chunk = kernel.unroll * kernel.vector.lanes
    whole = f.new(f"udiv i64 %k, {chunk}")
    state = f.loop(whole, state, steps(kernel.unroll, None, _AHEAD_BYTES).emit)
    if kernel.unroll > 1:
        left = f.new(f"urem i64 %k, {chunk}")
        singles = f.new(f"udiv i64 {left}, {kernel.vector.lanes}")
        state = f.loop(singles, state, steps(1, None, 0).emit)
    state = f.rest("%k", state, lambda mask: steps(1, mask, 0).emit)
    _update_c(f, kernel, state)
    return f.text()


@dataclass(frozen=True, slots=True)
class Step:
    """`count` vectors along k: the body of the loop."""

    f: Function
    kernel: DotKernel
    a_rows: list[str]
    b_rows: list[str]
    count: int
    mask: str | None
    ahead: int

    def emit(self, state: Values) -> Values:
        """The carried values, `count` vectors later."""
        state, f = dict(state), self.f
        for _ in range(self.count):
            at = state["at"][1]
            b = [f.load(f.at(row, at), self.mask) for row in self.b_rows]
            for i, row in enumerate(self.a_rows):
                where = f.at(row, at)
                if self.ahead:
                    f.prefetch(f.at(where, self.ahead))
                a = f.load(where, self.mask)
                for j, x in enumerate(b):
                    kind, total = state[f"s{i}.{j}"]
                    state[f"s{i}.{j}"] = (kind, f.fma(a, x, total))
            state["at"] = ("i64", f.new(f"add i64 {at}, {self.kernel.vector.nbytes}"))
        return state


def _rows(f: Function, base: str, stride: str, count: int) -> list[str]:
    rows = [base]
    for _ in range(count - 1):
        rows.append(f.at(rows[-1], stride))
    return rows


def _update_c(f: Function, kernel: DotKernel, state: Values) -> None:
    scalar, size = kernel.vector.scalar, kernel.vector.itemsize
    alpha = f.load_scalar("%scale")
    beta = f.load_scalar(f.at("%scale", size))
    sums = {key: f.sum_of_lanes(total) for key, (_, total) in state.items() if key.startswith("s")}

    def block(update: bool) -> None:
        for i, row in enumerate(_rows(f, "%c", "%row_step", kernel.rows)):
            for j, where in enumerate(_rows(f, row, "%column_step", kernel.columns)):
                value = f.new(f"fmul {scalar} {sums[f's{i}.{j}']}, {alpha}")
                if update:
                    old = f.new(f"fmul {scalar} {f.load_scalar(where)}, {beta}")
                    value = f.new(f"fadd {scalar} {old}, {value}")
                f.do(f"store {scalar} {value}, ptr {where}, align {size}")

    overwrite = f.new(f"fcmp oeq {scalar} {beta}, 0.0")
    f.either(overwrite, lambda: block(False), lambda: block(True))
