"""How each contender's time developed over the runs in a store; it informs and never gates.

Runs are grouped by fingerprint: only within a group are times compared. Each contender's fastest
block is divided by that of a reference which was timed in the same rounds, because machines drift
by more than most changes are worth. NumPy's BLAS is that reference where it was raced: within a
fingerprint its code is frozen, and it meets the same neighbours on the same layer
(docs/adr/013-history-against-blas.md). Steps are looked for in the logarithms
(`gemmbench.changepoints`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import exp, log
from typing import Any

from sqlalchemy import column, select, table

from gemmbench.changepoints import find_steps
from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.trial import Contender, Environment
from gemmbench_results.fingerprint import Difference, Fingerprint, differences, fingerprint
from gemmbench_results.runs import Run
from gemmbench_results.store import Store

ROOF = "roof"  # the fused multiply-add peak, which nearly every race has beside it
BLAS = "blas"  # NumPy's, raced by default
AUTO = "auto"  # BLAS where most runs of a series have it, else the roof

COLUMNS = (
    "trial", "run", "started_at", "suite", "layer", "shape", "dtype", "seconds", "fastest",
    "times_roof", "backend", "algorithm", "weights", "tuned", "config", "environment",
    "source_hash", "library",
)  # fmt: skip

Row = Mapping[str, Any]
Place = tuple[int, str, str]  # run, suite, layer: one race


@dataclass(frozen=True, slots=True)
class Point:
    """One run's time of a contender, its fastest config.

    `seconds` is the median call; `value` the fastest block in units of the reference's.
    """

    run: int
    started_at: str
    seconds: float
    value: float
    tuned: bool
    config: str
    source_hash: str
    library: str
    reference_source: str  # hash of the reference's source and library; '' of the roof


@dataclass(frozen=True, slots=True)
class Change:
    """A step in a series: the first run after it, the levels around it, and what else changed."""

    run: int
    started_at: str
    before: float
    after: float
    p_value: float
    changed: tuple[str, ...]  # "config", "source", "library", "reference": between its two runs

    @property
    def ratio(self) -> float:
        """0.05 where it became 5 % slower."""
        return self.after / self.before - 1


@dataclass(frozen=True, slots=True)
class Series:
    """One way of computing one layer over the runs of a group, oldest first."""

    suite: str
    layer: str
    shape: str
    dtype: str
    contender: Contender
    reference: str
    points: tuple[Point, ...]
    changes: tuple[Change, ...]
    left_out: int  # runs that timed it without the reference


@dataclass(frozen=True, slots=True)
class Group:
    """Comparable runs, and how they differ from the group before (by their first runs)."""

    fingerprint: Fingerprint
    runs: tuple[int, ...]
    series: tuple[Series, ...]
    differs: tuple[Difference, ...] = ()


def read_history(
    store: Store,
    *,
    suite: str | None = None,
    layer: str = "*",
    backend: str | None = None,
    reference: str = AUTO,
) -> list[Group]:
    """The history in `store`, groups in the order of their first runs.

    `reference` is `AUTO`, `ROOF`, or a backend that was raced in the same runs. Raises
    GemmbenchError where nothing is stored that fits.
    """
    rows = [row for row in _rows(store) if suite in (None, row["suite"])]
    _check_found(store, rows, suite)
    rows = [row for row in rows if fnmatchcase(row["layer"], layer)] or _refuse_layer(rows, layer)
    wanted = [row for row in rows if backend in (None, row["backend"])]
    if not wanted:
        raise GemmbenchError(_no_such("--backend", backend, (row["backend"] for row in rows)))
    races = _reference_rows(rows, BLAS if reference == AUTO else reference)
    prints = {run.number: _fingerprint(run) for run in store.runs()}
    groups: dict[Fingerprint, list[Row]] = {}
    for row in wanted:
        groups.setdefault(prints[row["run"]], []).append(row)
    found = [_group(same, own, races, reference) for same, own in groups.items()]
    filled = [group for group in found if group.series]
    if not filled:
        raise GemmbenchError(_no_reference(reference, rows))
    return _with_differences(filled)


def changes_of(points: Sequence[Point]) -> tuple[Change, ...]:
    """The steps in a series, and what else changed between the two runs on either side of each."""
    return tuple(
        Change(
            points[step.index].run,
            points[step.index].started_at,
            exp(step.before),
            exp(step.after),
            step.p_value,
            _changed(points[step.index - 1], points[step.index]),
        )
        for step in find_steps([log(point.value) for point in points])
    )


def _rows(store: Store) -> list[Row]:
    view = table("series", *(column(name) for name in COLUMNS))
    return list(store.read(select(view).order_by(view.c.trial)))


def _reference_rows(rows: Iterable[Row], backend: str) -> dict[Place, Row]:
    """The fastest contender of `backend` with plain weights in each race that it was in."""
    found: dict[Place, Row] = {}
    for row in rows:
        if row["backend"] == backend and row["weights"] == "plain":
            place = _place(row)
            found[place] = min(row, found.get(place, row), key=lambda one: float(one["fastest"]))
    return found


def _place(row: Row) -> Place:
    return row["run"], row["suite"], row["layer"]


def _fingerprint(run: Run) -> Fingerprint:
    return fingerprint(run.machine, run.software, run.protocol)


def _group(
    same: Fingerprint, rows: Sequence[Row], races: Mapping[Place, Row], reference: str
) -> Group:
    own: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = ("suite", "layer", "shape", "dtype", "backend", "algorithm", "weights", "environment")
        own.setdefault(tuple(row[name] for name in key), []).append(row)
    series = [_series(found, races, reference) for found in own.values()]
    filled = tuple(one for one in series if one.points)
    runs = sorted({point.run for one in filled for point in one.points})
    return Group(same, tuple(runs), filled)


def _series(rows: Sequence[Row], races: Mapping[Place, Row], reference: str) -> Series:
    first = rows[0]
    raced = [row for row in rows if _place(row) in races and row["backend"] != BLAS]
    if reference == AUTO:
        reference = BLAS if 2 * len(raced) >= len(rows) and raced else ROOF
    if reference == ROOF:
        found = [_point(row, None) for row in rows]
    else:
        others = [row for row in rows if row["backend"] != reference and _place(row) in races]
        found = [_point(row, races[_place(row)]) for row in others]
    points = tuple(point for point in found if point is not None)
    shape = (first["suite"], first["layer"], first["shape"], first["dtype"])
    left_out = len(rows) - len(points)
    return Series(*shape, _contender(first), reference, points, changes_of(points), left_out)


def _point(row: Row, reference: Row | None) -> Point | None:
    """A row in units of the reference's row, of the roof without one; None if it has no roof."""
    value = row["times_roof"] if reference is None else row["fastest"] / reference["fastest"]
    if value is None:
        return None
    names = ("run", "started_at", "seconds", "config", "source_hash", "library")
    return Point(
        **{name: row[name] for name in names},
        value=float(value),
        tuned=bool(row["tuned"]),
        reference_source="" if reference is None else reference["source_hash"],
    )


def _contender(row: Row) -> Contender:
    environment = json.loads(row["environment"])
    variables = tuple((name, value) for name, value in environment["variables"])
    return Contender(
        row["backend"],
        row["algorithm"],
        row["weights"],
        environment=Environment(environment["python"], variables),
    )


def _changed(before: Point, after: Point) -> tuple[str, ...]:
    pairs = {
        "config": (before.config, after.config),
        "source": (before.source_hash, after.source_hash),
        "library": (before.library, after.library),
        "reference": (before.reference_source, after.reference_source),
    }
    return tuple(name for name, (old, new) in pairs.items() if old != new)


def _with_differences(groups: Sequence[Group]) -> list[Group]:
    ordered = sorted(groups, key=lambda group: group.runs[0])
    return [
        Group(
            group.fingerprint,
            group.runs,
            group.series,
            tuple(differences(ordered[at - 1].fingerprint, group.fingerprint)) if at else (),
        )
        for at, group in enumerate(ordered)
    ]


def _check_found(store: Store, rows: Sequence[Row], suite: str | None) -> None:
    if rows:
        return
    stored = sorted({row["suite"] for row in _rows(store)})
    if suite is None or not stored:
        raise GemmbenchError(f"{store.name}: holds no race yet. Run 'gemmbench run SUITE' first.")
    raise GemmbenchError(f"{store.name}: {_no_such('suite', suite, stored)}")


def _refuse_layer(rows: Sequence[Row], glob: str) -> list[Row]:
    raise GemmbenchError(_no_such("--layer", glob, (row["layer"] for row in rows)))


def _no_such(what: str, given: str | None, stored: Iterable[str]) -> str:
    return f"{what}: no stored race has {given!r}.{did_you_mean(str(given), stored)}"


def _no_reference(reference: str, rows: Sequence[Row]) -> str:
    if reference in (ROOF, AUTO):
        return "history: these races were run without a roof. Use --reference with a backend."
    return _no_such("--reference", reference, [AUTO, ROOF, *(row["backend"] for row in rows)])
