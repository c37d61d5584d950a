"""Chart data of the history: one line a contender over the runs that may be compared."""

from collections.abc import Sequence
from dataclasses import dataclass

from gemmbench_results.export.entries import contender_name
from gemmbench_results.history import Group, Point
from gemmbench_results.report.history import change_text

FEWEST_POINTS = 2  # fewer are no line


@dataclass(frozen=True, slots=True)
class Line:
    """A contender's times on a layer, in units of the reference's; `steps` are in words."""

    layer: str
    contender: str
    reference: str
    group: int  # lines of different groups are never compared
    points: tuple[Point, ...]
    steps: tuple[tuple[int, str], ...]  # index of the first point after it, and what it is


def lines(groups: Sequence[Group]) -> list[Line]:
    """Those with at least two points, by group, in the order of the history."""
    return [
        Line(
            series.layer,
            contender_name(series.contender),
            series.reference,
            number,
            series.points,
            tuple(
                ([point.run for point in series.points].index(change.run), change_text(change))
                for change in series.changes
            ),
        )
        for number, group in enumerate(groups)
        for series in group.series
        if len(series.points) >= FEWEST_POINTS
    ]
