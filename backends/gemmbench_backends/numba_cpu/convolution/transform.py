"""Linear maps with constant coefficients as straight-line LLVM IR, a register of channels each.

A tile is transformed whole, in registers (and what LLVM spills of them), for one vector of channels
after another: Y = M·X·Nᵀ with tiny matrices whose rows and columns mostly come in pairs that differ
in signs only, and then share their sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from gemmbench_backends.numba_cpu.convolution.cooktoom import Matrix
from gemmbench_backends.numba_cpu.emit import Function, Values, Vector

Terms = list[tuple[Fraction, str]]


@dataclass(frozen=True, slots=True)
class TileTransform:
    """Y = rows · X · columnsᵀ for a tile X of pixels that lie `row_bytes`, `pixel_bytes` apart.

    A `spread` one reads pixels and writes each element of Y to a plane of its own; the other one
    gathers X from such planes and writes pixels.
    """

    label: str
    rows: Matrix
    columns: Matrix
    row_bytes: int
    pixel_bytes: int
    vector: Vector
    spread: bool

    def name(self) -> str:
        """A symbol that no other transform has; `label` has to tell the matrices."""
        kind = "spread" if self.spread else "gather"
        return f"{kind}_{self.label}_{self.row_bytes}_{self.pixel_bytes}_{self.vector.suffix}"


def tile_transform_ir(transform: TileTransform) -> str:
    """The module of `void name(from, to, plane, count, from_step, to_step)`.

    `plane`: bytes between the planes of the transformed side, which are in the order of its rows.
    The whole is done `count` times, `from_step` and `to_step` bytes further on.
    """
    parameters = [("ptr noalias", "from"), ("ptr noalias", "to"), ("i64", "plane"),
                  ("i64", "count"), ("i64", "from_step"), ("i64", "to_step")]  # fmt: skip
    f = Function(transform.name(), parameters, transform.vector)

    def once(state: Values) -> Values:
        source, target = state["from"][1], state["to"][1]
        _emit_tile(f, transform, source, target)
        return {
            "from": ("ptr", f.at(source, "%from_step")),
            "to": ("ptr", f.at(target, "%to_step")),
        }

    f.loop("%count", {"from": ("ptr", "%from"), "to": ("ptr", "%to")}, once)
    return f.text()


def combine(f: Function, matrix: Sequence[Sequence[Fraction]], xs: Sequence[str]) -> list[str]:
    """matrix · xs, pairs of columns and of rows that differ in signs sharing their sums."""
    rows, values = [list(row) for row in matrix], list(xs)
    for a in range(len(values)):
        for b in range(a + 1, len(values)):
            signs = [_sign(row[a], row[b]) for row in rows]
            used = [i for i, row in enumerate(rows) if row[a] or row[b]]
            if len(used) > 1 and all(signs[i] for i in used):
                values[a], values[b] = _sum_and_difference(f, values[a], values[b])
                for i in used:
                    keep, drop = (a, b) if signs[i] > 0 else (b, a)
                    rows[i][keep], rows[i][drop] = rows[i][a], Fraction(0)
    return _by_row_pairs(f, rows, values)


def _by_row_pairs(f: Function, rows: list[list[Fraction]], values: list[str]) -> list[str]:
    results: dict[int, str] = {}
    for i, row in enumerate(rows):
        if i in results:
            continue
        partner = next(
            (j for j in range(i + 1, len(rows)) if j not in results and _pairs(row, rows[j])), None
        )
        if partner is None:
            results[i] = _weighted_sum(f, list(zip(row, values, strict=True)))
            continue
        signs = [_sign(p, q) for p, q in zip(row, rows[partner], strict=True)]
        terms = list(zip(row, values, strict=True))
        even = _weighted_sum(f, [t for t, s in zip(terms, signs, strict=True) if s > 0])
        odd = _weighted_sum(f, [t for t, s in zip(terms, signs, strict=True) if s < 0])
        results[i], results[partner] = _sum_and_difference(f, even, odd)
    return [results[i] for i in range(len(rows))]


def _pairs(row: Sequence[Fraction], other: Sequence[Fraction]) -> bool:
    """Whether two rows differ in signs only, in some but not all of several places."""
    signs = [_sign(p, q) for p, q in zip(row, other, strict=True) if p or q]
    return len(signs) > 1 and all(signs) and len(set(signs)) == 2


def _sign(p: Fraction, q: Fraction) -> int:
    """1 where q = p, -1 where q = -p, neither being 0; otherwise 0."""
    if not p or abs(p) != abs(q):
        return 0
    return 1 if p == q else -1


def _sum_and_difference(f: Function, a: str, b: str) -> tuple[str, str]:
    kind = f.vector.type
    return f.new(f"fadd {kind} {a}, {b}"), f.new(f"fsub {kind} {a}, {b}")


def _weighted_sum(f: Function, terms: Terms) -> str:
    """Σ coefficient · value; those of coefficient 1 come first, as they start a sum for free."""
    kind = f.vector.type
    left = sorted((t for t in terms if t[0]), key=lambda t: (t[0] != 1, abs(t[0]) != 1))
    if not left:
        return "zeroinitializer"
    (factor, total), *rest = left
    if factor == -1:
        total = f.new(f"fneg {kind} {total}")
    elif factor != 1:
        total = f.new(f"fmul {kind} {total}, {f.constant(float(factor))}")
    for factor, value in rest:
        if abs(factor) == 1:
            total = f.new(f"{'fadd' if factor > 0 else 'fsub'} {kind} {total}, {value}")
        else:
            total = f.fma(value, f.constant(float(factor)), total)
    return total


def _emit_tile(f: Function, transform: TileTransform, source: str, target: str) -> None:
    """One vector of channels of one tile, read and written in the order in which it is needed."""
    if transform.spread:
        _emit_spread(f, transform, source, target)
    else:
        _emit_gather(f, transform, source, target)


def _emit_spread(f: Function, transform: TileTransform, source: str, target: str) -> None:
    half = []
    for j in range(len(transform.columns[0])):
        places = [
            i * transform.row_bytes + j * transform.pixel_bytes
            for i in range(len(transform.rows[0]))
        ]
        half.append(combine(f, transform.rows, [f.load(f.at(source, at)) for at in places]))
    where = target
    for i in range(len(transform.rows)):
        for value in combine(f, transform.columns, [column[i] for column in half]):
            f.store(value, where)
            where = f.at(where, "%plane")


def _emit_gather(f: Function, transform: TileTransform, source: str, target: str) -> None:
    half, where = [], source
    for _ in range(len(transform.rows[0])):
        row = []
        for _ in range(len(transform.columns[0])):
            row.append(f.load(where))
            where = f.at(where, "%plane")
        half.append(combine(f, transform.columns, row))
    for j in range(len(transform.columns)):
        for i, value in enumerate(combine(f, transform.rows, [row[j] for row in half])):
            f.store(value, f.at(target, i * transform.row_bytes + j * transform.pixel_bytes))
