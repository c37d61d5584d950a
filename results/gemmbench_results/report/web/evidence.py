"""Which runs and trials of a database a report is about.

A report tells of one run. What that run lacks (stages, searches, other kernels and strides) is
taken from runs that are comparable with it: the same machine, software and protocol.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, select

from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.problem import Problem
from gemmbench.trial import Trial, TrialState
from gemmbench_results import schema
from gemmbench_results.fingerprint import fingerprint
from gemmbench_results.history import Group, read_history
from gemmbench_results.runs import Run
from gemmbench_results.store import Store

SWEEP = "--sweep"  # of `compare`: its layers are points of a grid and not a network's
NETWORK = "network"  # the command: it races, in short, what has no stored winner yet
MOST_RUNS = 20  # comparable runs that are read besides the one reported, the newest


@dataclass(frozen=True, slots=True)
class Source:
    """Trials of one run."""

    run: int
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a report tells of; `stages` and `searches` without trials if no comparable run has any.

    `races` are the newest race of each problem, of any suite, in comparable runs.
    """

    suite: str
    run: Run
    trials: tuple[Trial, ...]  # of that suite in that run, races and searches
    stages: Source
    searches: Source
    races: tuple[tuple[Trial, ...], ...]
    history: tuple[Group, ...]


def gather(store: Store, suite: str | None = None, number: int | None = None) -> Evidence:
    """The evidence on `suite` in run `number`.

    Without a number, the newest of the runs that raced the most layers of the suite; what `network`
    raced to fill gaps, sweeps, and runs that timed nothing, only where there is nothing else.
    Without a suite, that of the newest race. A layer on which nobody was timed counts as not raced.
    Raises GemmbenchError where there is no such race.
    """
    name, chosen = _chosen(_raced(store, suite, number), store, suite, number)
    run = store.run(chosen)
    sources = [Source(n, tuple(store.trials(n))) for n in [chosen, *_comparable(store, run)]]
    same = [
        Source(one.run, tuple(trial for trial in one.trials if trial.suite == name))
        for one in sources
    ]
    return Evidence(
        suite=name,
        run=run,
        trials=same[0].trials,
        stages=_first(same, "race", lambda trial: bool(trial.stages)),
        searches=_searches(same),
        races=_races(sources),
        history=_history(store, name),
    )


def fuller(store: Store, evidence: Evidence) -> list[tuple[int, int]]:
    """Runs that raced more layers of the suite than the one reported, each with how many.

    The newest first; no sweeps, whose layers are points of a grid.
    """
    own = len({t.layer for t in evidence.trials if t.purpose == "race" and _timed(t)})
    ranks = _raced(store, evidence.suite, None).values()
    return sorted(((run, n) for kind, n, run in ranks if kind > 0 and n > own), reverse=True)


# 2 a race, 1 of a network's gaps, 0 a sweep, -1 nothing timed; layers on which some were; run
Rank = tuple[int, int, int]
Raced = dict[tuple[int, str], Rank]  # by run and suite


def _raced(store: Store, suite: str | None, number: int | None) -> Raced:
    own = schema.trial.c
    query = (
        select(
            own.run_id,
            own.suite,
            schema.run.c.command,
            func.count(case((own.state == str(TrialState.COMPLETE), own.layer)).distinct()).label(
                "layers"
            ),
        )
        .join_from(schema.trial, schema.run)
        .where(own.purpose == "race")
        .group_by(own.run_id, own.suite, schema.run.c.command)
        .order_by(own.run_id, own.suite)
    )
    return {
        (row["run_id"], row["suite"]): (
            _kind(row["command"]) if row["layers"] else -1,
            row["layers"],
            row["run_id"],
        )
        for row in store.read(query)
        if suite in (None, row["suite"]) and number in (None, row["run_id"])
    }


def _kind(command: str) -> int:
    """How much a run tells of a suite by its command: the largest is reported."""
    words = command.split()
    if any(word.startswith(SWEEP) for word in words):
        return 0
    return 1 if words[1:2] == [NETWORK] else 2


def _chosen(raced: Raced, store: Store, suite: str | None, number: int | None) -> tuple[str, int]:
    """The suite and the run. Raises GemmbenchError where nothing, or too much, fits."""
    if not raced:
        raise GemmbenchError(f"{store.name}: {_nothing(store, suite, number)}")
    _, newest = max((kind >= 0, run) for kind, _, run in raced.values())
    names = [name for run, name in raced if run == newest] if suite is None else [suite]
    if len(names) > 1:
        raise GemmbenchError(
            f"run {newest}: holds the suites {', '.join(names)}. Name one: gemmbench report SUITE."
        )
    return names[0], max(rank for (_, name), rank in raced.items() if name == names[0])[-1]


def _nothing(store: Store, suite: str | None, number: int | None) -> str:
    if number is not None:
        store.run(number)  # raises where there is no such run
        what = "no race" if suite is None else f"no race of {suite!r}"
        return f"run {number} holds {what}. Leave --run out for the newest."
    stored = sorted({name for _, name in _raced(store, None, None)})
    if suite is None or not stored:
        return "holds no race yet. Run 'gemmbench run SUITE' first."
    return f"holds no race of {suite!r}.{did_you_mean(suite, stored)}"


def _comparable(store: Store, run: Run) -> list[int]:
    """The newest runs whose times may be compared with those of `run`, the newest first."""
    key = fingerprint(run.machine, run.software, run.protocol)
    same = [
        one.number
        for one in store.runs()
        if one.number != run.number and fingerprint(one.machine, one.software, one.protocol) == key
    ]
    return same[: -MOST_RUNS - 1 : -1]


def _timed(trial: Trial) -> bool:
    return trial.state is TrialState.COMPLETE


def _searches(sources: Sequence[Source]) -> Source:
    """The first search that timed something; else the first, to tell how it failed."""
    timed = _first(sources, "tune", _timed)
    return timed if timed.trials else _first(sources, "tune", lambda _: True)


def _first(sources: Sequence[Source], purpose: str, has: Callable[[Trial], bool]) -> Source:
    """The trials of a purpose of the first source in which one of them has what is asked for."""
    for source in sources:
        found = tuple(trial for trial in source.trials if trial.purpose == purpose)
        if any(has(trial) for trial in found):
            return Source(source.run, found)
    return Source(sources[0].run, ())


def _races(sources: Iterable[Source]) -> tuple[tuple[Trial, ...], ...]:
    """One race of each problem: the first met, for the sources have the newest first."""
    found: dict[Problem, tuple[Trial, ...]] = {}
    for source in sources:
        layers: dict[tuple[Problem, str, str], list[Trial]] = {}
        for trial in source.trials:
            if trial.purpose == "race":
                layers.setdefault((trial.problem, trial.suite, trial.layer), []).append(trial)
        for (problem, _, _), race in layers.items():
            found.setdefault(problem, tuple(race))
    return tuple(found.values())


def _history(store: Store, suite: str) -> tuple[Group, ...]:
    """The history of the suite; none where its races lack what times are divided by."""
    try:
        return tuple(read_history(store, suite=suite))
    except GemmbenchError:
        return ()
