"""`gemmbench run` and `tune`: every layer of a suite, every way of computing it, tuned and raced.

One layer at a time: ask each backend what it offers, search the spaces of those that have knobs
(or take the stored winner), then race everything together. `tune` leaves out what has no knobs,
gives the search most of the time, and always searches on. Each trial is recorded as it ends.
"""

import time
from collections.abc import Sequence

from gemmbench.machine import Machine
from gemmbench.offers import Described, check_backends, check_space
from gemmbench.run_options import RunOptions, budget_seconds, check_memory, check_names
from gemmbench.run_outcome import Outcome, Watcher, exit_code
from gemmbench.runner import Runner
from gemmbench.sharing import share
from gemmbench.software import Software
from gemmbench.suite import Layer, Suite
from gemmbench.trial import RaceProtocol, Recorder
from gemmbench.tune.strategies import check_strategy

SHARING_SHARE = 0.15  # of the budget, where leading configs are measured on the other layers too


def run_suites(
    suites: Sequence[Suite],
    options: RunOptions,
    protocol: RaceProtocol,
    machine: Machine,
    recorder: Recorder,
    watcher: Watcher,
    command: str,
    software: Software | None = None,
) -> Outcome:
    """Race every layer of `suites`. Raises GemmbenchError before anything is written on bad input.

    Ctrl-C ends the run early with what is recorded kept.
    """
    layers = [(suite, layer) for suite in suites for layer in suite.layers]
    check_names(suites)
    runner = begin_run(layers, options, protocol, machine, recorder, watcher, command, software)
    outcome, problems = runner.outcome, [layer.problem for _, layer in layers]
    seconds = budget_seconds(suites, options)
    sharing = SHARING_SHARE * seconds if options.portfolio else 0.0
    started = time.monotonic()
    try:
        for position, (suite, layer) in enumerate(layers):
            left = started + seconds - sharing - time.monotonic()
            watcher.layer(suite.name, layer.name, position, len(layers))
            runner.run_layer(suite, layer, max(left, 0) / (len(layers) - position))
        if options.portfolio:
            share(runner, layers, problems, started + seconds)
    except KeyboardInterrupt:
        outcome.interrupted = True
    finally:
        runner.close()
        outcome.seconds = time.monotonic() - started
    recorder.end(outcome.run, exit_code(outcome))  # a run that broke down has no end
    return outcome


def begin_run(
    layers: Sequence[tuple[Suite, Layer]],
    options: RunOptions,
    protocol: RaceProtocol,
    machine: Machine,
    recorder: Recorder,
    watcher: Watcher,
    command: str,
    software: Software | None = None,
) -> Runner:
    """A run that has begun. Raises GemmbenchError before anything is written on bad input."""
    described = check_run(layers, options, protocol, machine)
    outcome = Outcome(recorder.begin(command, machine, protocol, protocol.seed, software))
    return Runner(options, protocol, machine, recorder, watcher, outcome, described)


def check_run(
    layers: Sequence[tuple[Suite, Layer]],
    options: RunOptions,
    protocol: RaceProtocol,
    machine: Machine,
) -> Described:
    """What the backends that had to be asked have said; nothing is measured.

    Raises GemmbenchError for all that a run refuses, so that a dry run can refuse it too.
    """
    check_strategy(options.strategy)
    check_memory(layers, options)
    problems = [layer.problem for _, layer in layers]
    described = check_backends(problems, options, protocol, machine)
    return check_space(problems, options, protocol, machine, described)
