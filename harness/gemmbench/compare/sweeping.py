"""A sweep: the points of a grid are raced where neighbours disagree, as long as there is time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine
from gemmbench.offers import NoOfferError, algorithms_of
from gemmbench.race import Limits
from gemmbench.ranking import rank
from gemmbench.run import begin_run
from gemmbench.run_options import RunOptions, check_memory
from gemmbench.run_outcome import Outcome, Watcher, exit_code
from gemmbench.software import Software
from gemmbench.suite import Layer, Suite
from gemmbench.sweep import Grid, Point, coarse, refine
from gemmbench.trial import RaceProtocol, Recorder, Trial

SECONDS_PER_POINT = 8.0  # of a sweep's default budget, for every point of the grid


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
    problems = list(grid.problems.values())
    limits = Limits(0, options.timeout, options.memory_bytes)
    for spec in options.specs():
        try:
            ways = algorithms_of(spec, problems, protocol.threads, limits)
        except NoOfferError:
            continue
        for point, names in zip(grid.problems, ways, strict=True):
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
