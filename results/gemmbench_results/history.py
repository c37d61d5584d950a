"""How each contender's time developed over the runs in a store; it informs and never gates.

Runs are grouped by fingerprint: only within a group are times compared. Each time is divided by
that of a reference which was timed in the same rounds, because machines drift by more than most
changes are worth. Steps are looked for in the logarithms (`gemmbench.changepoints`).
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
from gemmbench_results.store import Run, Store

ROOF = "roof"  # the reference that every race has: the fused multiply-add peak, raced beside it

COLUMNS = (
    "trial", "run", "started_at", "suite", "layer", "shape", "dtype", "seconds", "roofs",
    "backend", "algorithm", "weights", "tuned", "config", "environment", "source_hash", "library",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Point:
    """One run's time of a contender, its fastest config; `value` is in units of the reference."""

    run: int
    started_at: str
    seconds: float
    value: float
    tuned: bool
    config: str
    source_hash: str
    library: str


@dataclass(frozen=True, slots=True)
class Change:
    """A step in a series: the first run after it, the levels around it, and what else changed."""

    run: int
    started_at: str
    before: float
    after: float
    p_value: float
    changed: tuple[str, ...]  # of "config", "source" and "library", between the runs beside it

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
    points: tuple[Point, ...]
    changes: tuple[Change, ...]


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
    reference: str = ROOF,
) -> list[Group]:
    """The history in `store`, groups in the order of their first runs.

    `reference` is `ROOF`, or a backend that was raced in the same runs. Raises GemmbenchError
    where nothing is stored that fits.
    """
    rows = [row for row in _rows(store) if suite in (None, row["suite"])]
    _check_found(store, rows, suite)
    rows = _of_layer(rows, layer)
    by_run = _reference_seconds(rows, reference)
    wanted = [row for row in rows if backend in (None, row["backend"])]
    if not wanted:
        raise GemmbenchError(_no_such("--backend", backend, (row["backend"] for row in rows)))
    prints = {run.number: _fingerprint(run) for run in store.runs()}
    groups: dict[Fingerprint, list[dict[str, Any]]] = {}
    for row in wanted:
        seconds = by_run.get((row["run"], row["suite"], row["layer"]))
        value = row["roofs"] if reference == ROOF else seconds and row["seconds"] / seconds
        if value:
            groups.setdefault(prints[row["run"]], []).append({**row, "value": value})
    if not groups:
        raise GemmbenchError(_no_reference(reference, rows))
    return _with_differences([_group(*group) for group in groups.items()])


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


def _rows(store: Store) -> list[dict[str, Any]]:
    view = table("series", *(column(name) for name in COLUMNS))
    return store.read(select(view).order_by(view.c.trial))


def _of_layer(rows: list[dict[str, Any]], glob: str) -> list[dict[str, Any]]:
    found = [row for row in rows if fnmatchcase(row["layer"], glob)]
    if not found:
        raise GemmbenchError(_no_such("--layer", glob, (row["layer"] for row in rows)))
    return found


def _reference_seconds(
    rows: Iterable[Mapping[str, Any]], backend: str
) -> dict[tuple[int, str, str], float]:
    """Seconds of the backend's fastest contender with plain weights, by run, suite and layer."""
    found: dict[tuple[int, str, str], float] = {}
    for row in rows:
        if row["backend"] == backend and row["weights"] == "plain":
            key = (row["run"], row["suite"], row["layer"])
            found[key] = min(row["seconds"], found.get(key, row["seconds"]))
    return found


def _fingerprint(run: Run) -> Fingerprint:
    return fingerprint(run.machine, run.software, run.protocol)


def _group(same: Fingerprint, rows: Sequence[Mapping[str, Any]]) -> Group:
    series: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        key = ("suite", "layer", "shape", "dtype", "backend", "algorithm", "weights", "environment")
        series.setdefault(tuple(row[name] for name in key), []).append(row)
    runs = tuple(dict.fromkeys(row["run"] for row in rows))
    return Group(same, runs, tuple(_series(own) for own in series.values()))


def _series(rows: Sequence[Mapping[str, Any]]) -> Series:
    first = rows[0]
    names = ("run", "started_at", "seconds", "value", "config", "source_hash", "library")
    points = tuple(
        Point(**{name: row[name] for name in names}, tuned=bool(row["tuned"])) for row in rows
    )
    environment = json.loads(first["environment"])
    variables = tuple((name, value) for name, value in environment["variables"])
    contender = Contender(
        first["backend"],
        first["algorithm"],
        first["weights"],
        environment=Environment(environment["python"], variables),
    )
    shape = (first["suite"], first["layer"], first["shape"], first["dtype"])
    return Series(*shape, contender, points, changes_of(points))


def _changed(before: Point, after: Point) -> tuple[str, ...]:
    pairs = {
        "config": (before.config, after.config),
        "source": (before.source_hash, after.source_hash),
        "library": (before.library, after.library),
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


def _check_found(store: Store, rows: Sequence[Mapping[str, Any]], suite: str | None) -> None:
    if rows:
        return
    stored = sorted({row["suite"] for row in _rows(store)})
    if suite is None or not stored:
        raise GemmbenchError(f"{store.name}: holds no race yet. Run 'gemmbench run SUITE' first.")
    raise GemmbenchError(f"{store.name}: {_no_such('suite', suite, stored)}")


def _no_such(what: str, given: str | None, stored: Iterable[str]) -> str:
    return f"{what}: no stored race has {given!r}.{did_you_mean(str(given), stored)}"


def _no_reference(reference: str, rows: Sequence[Mapping[str, Any]]) -> str:
    if reference == ROOF:
        return "history: these races were run without a roof. Use --reference with a backend."
    return _no_such("--reference", reference, [ROOF, *(row["backend"] for row in rows)])
