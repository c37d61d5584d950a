"""Winograd's matrices for any output tile m and kernel r, as exact fractions.

F(m, r) computes m outputs of a correlation with r taps by m + r - 1 products:

    y = Aᵀ · [(G·w) ⊙ (Bᵀ·x)]        x: m + r - 1 inputs, w: r taps

The two polynomials are multiplied at m + r - 2 finite points and at infinity, and the transpose of
that (a correlation is the transpose of a product) gives the matrices. Two dimensions nest:
Y = Aᵀ·[(G·W·Gᵀ) ⊙ (Bᵀ·X·B)]·A.

Sources: Winograd 1980, "Arithmetic Complexity of Computations"; Lavin & Gray 2016, "Fast Algorithms
for Convolutional Neural Networks" (the nesting); Blahut 2010, "Fast Algorithms for Signal
Processing", chapter 5 (Cook-Toom).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm, sqrt

Matrix = tuple[tuple[Fraction, ...], ...]

_HALF, _THREE_HALVES = Fraction(1, 2), Fraction(3, 2)
# By how many there are: of least `growth` among small dyadic fractions, whose powers are exact, in
# pairs ±p, which share their sums. 0, ±3/4, ±3/2 costs what the textbook's 0, ±1, ±2 does.
_POINTS: dict[int, tuple[Fraction, ...]] = {
    0: (),
    1: (Fraction(0),),
    2: (Fraction(0), Fraction(1)),
    3: (Fraction(0), Fraction(1), Fraction(-1)),
    4: (Fraction(0), _THREE_HALVES, -_THREE_HALVES, _HALF),
    5: (Fraction(0), Fraction(3, 4), Fraction(-3, 4), _THREE_HALVES, -_THREE_HALVES),
    6: (Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(-2), Fraction(1, 4)),
    7: (Fraction(0), _HALF, -_HALF, Fraction(1), Fraction(-1), Fraction(2), Fraction(-2)),
}
MOST_POINTS = max(_POINTS) + 1  # with infinity


@dataclass(frozen=True, slots=True)
class Transform:
    """The matrices of F(outputs, taps): `output` is Aᵀ, `weights` G, `inputs` Bᵀ."""

    output: Matrix  # (m, n)
    weights: Matrix  # (n, r)
    inputs: Matrix  # (n, n), n = m + r - 1

    @property
    def points(self) -> int:
        """n: inputs of a tile, and products."""
        return len(self.inputs)


def default_points(count: int) -> tuple[Fraction, ...]:
    """The finite points that `count` products use, one fewer than they are."""
    return _POINTS[count - 1]


def cook_toom(outputs: int, taps: int, points: Sequence[Fraction] | None = None) -> Transform:
    """F(outputs, taps) at `points`, distinct and outputs + taps - 2 of them, and at infinity.

    Rows of Bᵀ are scaled to whole numbers, those of G by the inverse: inputs are then transformed
    with the fewest rounded constants.
    """
    count = outputs + taps - 1
    finite = default_points(count) if points is None else tuple(points)
    if len(set(finite)) != count - 1:
        raise ValueError(f"F({outputs}, {taps}) needs {count - 1} distinct points, got {finite}")
    weights, inputs = [], []
    for point in finite:
        others = [other for other in finite if other != point]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        row = _monic(others)
        whole = lcm(*(value.denominator for value in row))
        inputs.append([value * whole for value in row] + [Fraction(0)])
        weights.append([point**k / scale / whole for k in range(taps)])
    weights.append([Fraction(0)] * (taps - 1) + [Fraction(1)])
    row = _monic(finite)
    whole = lcm(*(value.denominator for value in row))
    inputs.append([value * whole for value in row])
    weights[-1][-1] /= whole
    output = [
        [point**i for point in finite] + [Fraction(int(i == outputs - 1))] for i in range(outputs)
    ]
    return Transform(_frozen(output), _frozen(weights), _frozen(inputs))


def identity(outputs: int) -> Transform:
    """F(outputs, 1): one tap along a side, nothing to transform."""
    one = _frozen([[Fraction(int(i == j)) for j in range(outputs)] for i in range(outputs)])
    return Transform(one, ((Fraction(1),),) * outputs, one)


def growth(transform: Transform) -> float:
    """How many times larger rounding errors get than those of the direct method, one dimension.

    Errors of independent sign add up as squares: an output's is Σ_j A²_ij·|G_j|²·|B_j|² over its
    products j, the direct method's Σ over r taps. Nested, it is squared. Worst-case bounds are
    products of the same norms: Barabasz, Anderson, Soodhalter & Gregg, "Error Analysis and
    Improving the Accuracy of Winograd Convolution for Deep Neural Networks", arXiv:1803.10986.
    """
    sizes = [
        sum(float(g) ** 2 for g in g_row) * sum(float(b) ** 2 for b in b_row)
        for g_row, b_row in zip(transform.weights, transform.inputs, strict=True)
    ]
    worst = max(
        sum(float(a) ** 2 * size for a, size in zip(row, sizes, strict=True))
        for row in transform.output
    )
    return sqrt(worst / len(transform.weights[0]))


def _monic(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of Π (x - root), lowest power first."""
    product = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *product]
        product = [a - root * b for a, b in zip(shifted, [*product, Fraction(0)], strict=True)]
    return product


def _frozen(rows: Sequence[Sequence[Fraction]]) -> Matrix:
    return tuple(tuple(row) for row in rows)
