"""`gemmbench compare`: the algorithms of a convolution side by side, and where each one wins.

Three uses of the same race. Side by side it is a run over the convolutions of a suite, of which
stored results may be taken again. A sweep races a grid of shapes, point by point, and decides
after each round which points are worth measuring. Settings race every contender under several
fills, or with hot and cold caches, against itself in the same rounds.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from gemmbench.backend import PER_IMAGE, locate_backend
from gemmbench.errors import GemmbenchError
from gemmbench.link import Link, RequestError, WorkerLostError, location_data
from gemmbench.machine import Machine
from gemmbench.offers import NoOfferError, describe
from gemmbench.problem import Conv2d, problem_to_data
from gemmbench.race import Limits, Race, Setting, run_race
from gemmbench.ranking import may_win, rank
from gemmbench.reference import Cases
from gemmbench.run import begin_run
from gemmbench.run_options import RunOptions, check_memory
from gemmbench.run_outcome import Outcome, Watcher, exit_code
from gemmbench.runner import Runner
from gemmbench.software import Software
from gemmbench.space import Config
from gemmbench.stats import Effect, summarize
from gemmbench.stats import compare as effect_of
from gemmbench.suite import Layer, Suite
from gemmbench.sweep import Grid, Point, coarse, refine
from gemmbench.trial import Environment, RaceProtocol, Recorder, Trial, TrialState

SECONDS_PER_POINT = 8.0  # of a sweep's default budget, for every point of the grid
FILLS = ("uniform", "zeros", "integers", "denormal")  # the first is what others are held against
CACHES = ("hot", "cold")

By = Literal["algorithm", "backend", "contender"]  # contender: each algorithm of each backend
SettingBy = Literal["fill", "cache"]
OfferKey = tuple[str, str, str, str]  # backend, algorithm, weights, source hash
OfferKeys = frozenset[OfferKey]


# Side by side


def convolutions(suite: Suite) -> Suite:
    """`suite` with only its convolutions. Raises GemmbenchError if it has none."""
    kept = tuple(layer for layer in suite.layers if isinstance(layer.problem, Conv2d))
    if not kept:
        raise GemmbenchError(
            f"{suite.origin}: has no convolution among the layers chosen, and compare is about "
            "those. Use 'gemmbench run' for products, or --by fill or cache for any layer."
        )
    return replace(suite, layers=kept)


def standing_for(trials: Sequence[Trial], by: By) -> list[Trial]:
    """The trials of one layer's race that stand for each algorithm, backend or both.

    The fastest with each kind of weights, one that may win before one that may not. Who did not
    complete stands where nobody of its kind did, and who took no part where there is nobody else.
    """
    timed = [t for t in trials if t.state is TrialState.COMPLETE and t.measurement]
    best: dict[tuple[str, str], Trial] = {}
    for trial in timed:
        key = _kind(trial, by)
        if key not in best or _pace(trial) < _pace(best[key]):
            best[key] = trial
    others: dict[tuple[str, str], Trial] = {}
    for trial in trials:
        kind = _kind(trial, by)
        if kind not in best and trial not in timed and kind[1]:
            others.setdefault(kind, trial)
    return [*best.values(), *others.values()] or list(trials)


def reusable(
    races: Iterable[tuple[int, Sequence[Trial]]],
    offered: OfferKeys,
    tuned: Mapping[OfferKey, Config] | None,
) -> tuple[int, list[Trial]] | None:
    """The newest comparable race that timed all that is offered now, as it would be timed now.

    Its run and its trials of what is offered; None if there is no such race. That machine and
    protocol match is whose `races` they are. `tuned`: the stored winners, which must have been in
    the race: they may be newer; None where defaults alone are to be raced.
    """
    for run, trials in races:
        own = [t for t in trials if _offer(t) in offered and _as_now(t, tuned is not None)]
        done = [t for t in own if t.state is TrialState.COMPLETE and t.measurement]
        raced = [(_offer(t), dict(t.contender.config)) for t in done]
        missing = [w for w in (tuned or {}).items() if (w[0], dict(w[1])) not in raced]
        if offered and {offer for offer, _ in raced} == offered and not missing:
            return run, own
    return None


def offered_now(
    options: RunOptions, protocol: RaceProtocol, machine: Machine, problem: Conv2d
) -> OfferKeys:
    """What the backends asked for offer for `problem` now, each asked in a process of its own."""
    found = set()
    limits = Limits(0, options.timeout, options.memory_bytes)
    for spec in options.specs():
        try:
            reply = describe(spec, problem, protocol.threads, machine, limits)
        except NoOfferError:
            continue
        for offer in reply["offers"]:
            if options.wants(offer["algorithm"], offer["weights"]):
                found.add((spec, offer["algorithm"], offer["weights"], reply["source_hash"]))
    return frozenset(found)


def _kind(trial: Trial, by: By) -> tuple[str, str]:
    one = trial.contender
    names = {
        "algorithm": one.algorithm,
        "backend": one.backend,
        "contender": f"{one.backend} {one.algorithm}".rstrip(),
    }
    return one.weights, names[by]


def _pace(trial: Trial) -> tuple[bool, float]:
    return not may_win(trial), summarize(trial.measurement).median


def _offer(trial: Trial) -> OfferKey:
    one = trial.contender
    return one.backend, one.algorithm, one.weights, trial.source_hash


def _as_now(trial: Trial, may_be_tuned: bool) -> bool:
    """Whether compare would race that config: images lowered one by one, here, tuned if it may."""
    one = trial.contender
    alone = one.config.get("lowering", PER_IMAGE) == PER_IMAGE
    return alone and one.environment == Environment() and (may_be_tuned or not one.tuned)


# A sweep


@dataclass(slots=True)
class Swept:
    """What a sweep found: the trials of each measured point, and who wins where."""

    grid: Grid
    outcome: Outcome
    kinds: tuple[str, ...]  # of weights, each ranked apart
    trials: dict[Point, list[Trial]] = field(default_factory=dict)
    winners: dict[Point, str] = field(default_factory=dict)  # as `winning` says
    inferred: dict[Point, str] = field(default_factory=dict)
    late: list[Point] = field(default_factory=list)  # not reached in time


def winning(trials: Sequence[Trial], kinds: Sequence[str]) -> str:
    """The algorithm that won with each kind of weights, whoever's: 'fft' or 'im2col/winograd'.

    "" if several lead with some kind; 'none' stands for a kind with which nobody was timed.
    """
    found = []
    for kind in kinds:
        (verdict,) = rank([t for t in trials if t.contender.weights == kind]) or (None,)
        own = [t for t in trials if t.contender.weights == kind]
        names = {own[i].contender.algorithm for i in verdict.leaders} if verdict else set()
        if len(names) > 1:
            return ""
        found.append(names.pop() if names else "none")
    return "" if set(found) == {"none"} else "/".join(found)


def run_sweep(
    suite: Suite,
    grid: Grid,
    options: RunOptions,
    protocol: RaceProtocol,
    machine: Machine,
    recorder: Recorder,
    watcher: Watcher,
    command: str,
    software: Software | None = None,
) -> Swept:
    """Race the grid's coarse points, then those between neighbours that disagree, in the budget.

    Raises GemmbenchError before anything is written on bad input. Ctrl-C keeps what is measured.
    """
    layers = {
        point: Layer(grid.label(point), problem, suite.source)
        for point, problem in grid.problems.items()
    }
    runner = begin_run(
        [(suite, layer) for layer in layers.values()],
        options, protocol, machine, recorder, watcher, command, software,
    )  # fmt: skip
    swept = Swept(grid, runner.outcome, options.weights)
    seconds = sweep_seconds(grid, options)
    started = time.monotonic()
    todo = coarse(grid)
    try:
        watcher.step("asking what can be raced at each point")
        ways = ways_of(grid, options, protocol)
        while todo and time.monotonic() - started < seconds:
            point = todo.pop(0)
            watcher.layer(suite.name, layers[point].name, len(swept.trials), len(grid.problems))
            before = len(runner.outcome.trials)
            left = seconds - (time.monotonic() - started)
            pending = len(grid.problems) - len(swept.trials) - len(swept.inferred)
            runner.run_layer(suite, layers[point], left / max(pending, 1))
            swept.trials[point] = runner.outcome.trials[before:]
            swept.winners[point] = winning(swept.trials[point], swept.kinds)
            if not todo:
                todo, swept.inferred = refine(grid, swept.winners, ways)
    except KeyboardInterrupt:
        runner.outcome.interrupted = True
    finally:
        runner.close()
        runner.outcome.seconds = time.monotonic() - started
    swept.late = [p for p in grid.problems if p not in swept.winners and p not in swept.inferred]
    recorder.end(runner.outcome.run, exit_code(runner.outcome))
    return swept


def ways_of(grid: Grid, options: RunOptions, protocol: RaceProtocol) -> dict[Point, frozenset[str]]:
    """What may be raced at each point, as 'numba winograd': a process asks a backend about all.

    One that breaks when it is asked is left out here; the races say why.
    """
    found: dict[Point, set[str]] = {point: set() for point in grid.problems}
    problems = [problem_to_data(problem) for problem in grid.problems.values()]
    for spec in options.specs():
        location = locate_backend(spec)
        with Link(
            location, next(iter(grid.problems.values())), threads=protocol.threads,
            timeout=options.timeout, memory_bytes=options.memory_bytes,
        ) as link:  # fmt: skip
            try:
                reply = link.ask("ways", location=location_data(location), problems=problems)
            except (RequestError, WorkerLostError):
                continue
        for point, names in zip(grid.problems, reply["ways"], strict=True):
            wanted = [n for n in names if not options.algorithms or n in options.algorithms]
            found[point] |= {f"{spec} {name}" for name in wanted}
    return {point: frozenset(names) for point, names in found.items()}


def sweep_seconds(grid: Grid, options: RunOptions) -> float:
    """Seconds that a sweep may take, as asked for or by the number of points."""
    return options.budget or SECONDS_PER_POINT * len(grid.problems)


def within_memory(suite: Suite, grid: Grid, options: RunOptions) -> Grid:
    """`grid` without the points that need more memory than is allowed, which are left out."""
    problems, left_out = dict(grid.problems), dict(grid.left_out)
    for point, problem in grid.problems.items():
        try:
            check_memory([(suite, Layer(grid.label(point), problem, suite.source))], options)
        except GemmbenchError as error:
            left_out[point] = str(error)
            del problems[point]
    if not problems:
        raise GemmbenchError(f"--sweep: no combination fits: {next(iter(left_out.values()))}")
    return replace(grid, problems=problems, left_out=left_out)


# Settings


@dataclass(frozen=True, slots=True)
class Ratio:
    """A contender under one setting against itself under the first one."""

    layer: str
    base: Trial
    other: Trial
    setting: str
    effect: Effect | None  # ln of how many times longer the other takes; None if not timed


def settings_of(by: SettingBy, protocol: RaceProtocol, cold_bytes: int) -> dict[str, RaceProtocol]:
    """The protocol of each setting that is raced, the base first."""
    if by == "fill":
        return {name: replace(protocol, fill=name) for name in FILLS}
    sizes = {"hot": 0, "cold": cold_bytes}
    return {name: replace(protocol, cache=name, cold_bytes=sizes[name]) for name in CACHES}


def race_settings(
    suite: Suite,
    layer: Layer,
    runner: Runner,
    settings: Mapping[str, RaceProtocol],
    seconds: float,
    record: Callable[[str, Trial], None],
) -> list[Ratio]:
    """Every contender of one layer under each setting, in the same rounds, and the ratios.

    Whatever is slow stays to the end: how slow it is under a setting is the question. `record`
    gets each trial with the setting it was raced under, when the layer is done.
    """
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="gemmbench-") as folder,
        runner.arena(suite, layer, seconds) as race,
    ):
        contenders = [
            contender
            for spec in runner.options.specs()
            for contender in runner.contenders(race, spec, seconds)
        ]
        first = next(iter(settings.values()))
        base = Cases(layer.problem, Path(folder), first.fill, first.seed)
        cases = {
            name: base if own.fill == first.fill else base.filled(own.fill)
            for name, own in settings.items()
        }
        own_race: Race = replace(
            race,
            spec=replace(race.spec, contenders=tuple(contenders)),
            limits=replace(race.limits, seconds=max(0, seconds + started - time.monotonic())),
            settings=tuple(Setting(n, cases[n], p) for n, p in settings.items()),
            memory=None,  # one bandwidth does not fit hot and cold operands
        )
        trials = run_race(own_race)
    names = list(settings)
    ratios = []
    for at in range(0, len(trials), len(names)):
        base_trial, *others = trials[at : at + len(names)]
        for name, trial in zip(names, [base_trial, *others], strict=True):
            record(name, trial)
        ratios += [
            Ratio(
                layer.name,
                base_trial,
                other,
                name,
                effect_of(base_trial.measurement, other.measurement),
            )
            for name, other in zip(names[1:], others, strict=True)
        ]
    return ratios


def coldness(ratio: Ratio, machine: Machine, enough: float) -> str:
    """Whether a cold trial was: 'cold', 'larger than the caches', 'not proven' or 'unknown'."""
    found = ratio.other.cold_ratio
    if found is None:
        return "unknown"
    if found >= enough:
        return "cold"
    caches = machine.l2_bytes + machine.l3_bytes
    return (
        "larger than the caches" if ratio.other.problem.minimal_bytes() > caches else "not proven"
    )
