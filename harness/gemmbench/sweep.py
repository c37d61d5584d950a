"""A grid of convolutions around one, and which of its points are worth measuring next.

The corners and every second value of each axis come first. Where two neighbours have different
winners, or one has none, or something else can be raced there, what lies between them is measured;
where they agree it is inferred, and says so. Nothing here measures: winners go in, points come out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.problem import Conv2d, ProblemError

FIELDS: Mapping[str, tuple[str, ...]] = {  # what a user sweeps: the fields that follow it
    "kernel": ("kernel",),
    "stride": ("stride",),
    "pad": ("pad",),
    "dilation": ("dilation",),
    "channels": ("channels",),
    "out": ("filters",),
    "size": ("height", "width"),
    "groups": ("groups",),
    "batch": ("batch",),
}
PAIRS = ("kernel", "stride", "pad", "dilation")
MOST_POINTS = 400  # of a grid: more were surely not meant

Point = tuple[int, ...]  # a value of each axis


@dataclass(frozen=True, slots=True)
class Axis:
    """A name of `FIELDS` and its values, ascending."""

    name: str
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """Every combination of the axes' values, as convolutions; what cannot be is left out."""

    axes: tuple[Axis, ...]
    problems: Mapping[Point, Conv2d]
    left_out: Mapping[Point, str]  # with the reason

    def label(self, point: Point) -> str:
        """'kernel=3 stride=2'."""
        names = (axis.name for axis in self.axes)
        return " ".join(f"{name}={value}" for name, value in zip(names, point, strict=True))


def parse_axis(text: str) -> Axis:
    """The axis that 'kernel=1,3,5' means. Raises GemmbenchError for anything else."""
    name, equals, values = text.partition("=")
    if name not in FIELDS:
        raise GemmbenchError(f"--sweep: got {text!r}.{did_you_mean(name, FIELDS)}")
    words = [word.strip() for word in values.split(",")]
    if not equals or not all(word.isdecimal() for word in words):
        raise GemmbenchError(
            f"--sweep: got {text!r}, expected a name and integers, such as kernel=1,3,5."
        )
    return Axis(name, tuple(sorted({int(word) for word in words})))


def make_grid(base: Conv2d, axes: Sequence[Axis]) -> Grid:
    """All combinations of `axes` on `base`. Raises GemmbenchError if none is a convolution.

    A kernel that is swept is padded by half of itself, unless `pad` is swept too, so that the
    size of the output does not change with it.
    """
    names = [axis.name for axis in axes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise GemmbenchError(f"--sweep: {twice[0]} is given twice. Give all its values in one.")
    problems: dict[Point, Conv2d] = {}
    left_out: dict[Point, str] = {}
    points = list(product(*(axis.values for axis in axes)))
    if len(points) > MOST_POINTS:
        raise GemmbenchError(
            f"--sweep: {len(points)} combinations, at most {MOST_POINTS} are swept. "
            "Give fewer values."
        )
    for point in points:
        try:
            problems[point] = _changed(base, dict(zip(names, point, strict=True)))
        except ProblemError as error:
            left_out[point] = str(error)
    if not problems:
        raise GemmbenchError(f"--sweep: no combination can be computed: {left_out[points[0]]}")
    return Grid(tuple(axes), problems, left_out)


def coarse(grid: Grid) -> list[Point]:
    """The first and last and every second value of each axis; all values where there are two.

    All points there are, where none of these is one.
    """
    kept = [{*axis.values[::2], axis.values[-1]} for axis in grid.axes]
    found = [
        point
        for point in grid.problems
        if all(value in own for value, own in zip(point, kept, strict=True))
    ]
    return found or list(grid.problems)


def refine(
    grid: Grid, winners: Mapping[Point, str], ways: Mapping[Point, frozenset[str]]
) -> tuple[list[Point], dict[Point, str]]:
    """Points to measure next, and the winners of those that need no measuring.

    `winners` are by measured point, "" where it is not known who wins; `ways` is what can be raced
    at a point. Once both neighbours of a point on every axis on which it has two agree, and the
    same can be raced there, it is inferred, and is a neighbour itself.
    """
    known, inferred = dict(winners), dict[Point, str]()
    doubtful: list[Point] = []
    while True:
        found: dict[Point, str] = {}
        doubtful = []
        for point in grid.problems:
            if point in known:
                continue
            around = list(_neighbours(grid, point, known))
            if not around:
                continue
            names = {known[other] for other in around}
            alike = all(ways.get(other) == ways.get(point) for other in around)
            if alike and len(names) == 1 and "" not in names:
                found[point] = names.pop()
            else:
                doubtful.append(point)
        if not found:
            break
        known.update(found)
        inferred.update(found)
    if not doubtful:  # what no two neighbours enclose can only be measured
        doubtful = [point for point in grid.problems if point not in known]
    return doubtful, inferred


def _neighbours(grid: Grid, point: Point, known: Mapping[Point, str]) -> Iterator[Point]:
    """The nearest known points on both sides of `point`, on each axis that has two."""
    for at in range(len(grid.axes)):
        line = {
            other[at]: other
            for other in known
            if all(a == b for i, (a, b) in enumerate(zip(other, point, strict=True)) if i != at)
        }
        below = [value for value in line if value < point[at]]
        above = [value for value in line if value > point[at]]
        if below and above:
            yield line[max(below)]
            yield line[min(above)]


def _changed(base: Conv2d, values: Mapping[str, int]) -> Conv2d:
    """`base` with the swept fields changed. Raises ProblemError."""
    given = dict(values)
    if "kernel" in given:
        given.setdefault("pad", given["kernel"] // 2)
    fields: dict[str, int | tuple[int, int]] = {}
    for name, value in given.items():
        for field in FIELDS[name]:
            fields[field] = (value, value) if name in PAIRS else value
    changed: Conv2d = replace(base, **fields)  # type: ignore[arg-type]  # names of FIELDS
    return changed
