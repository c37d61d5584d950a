"""How good the best config after some seconds of tuning is: the share of the best ever found.

    python benchmarks/own_kernels.py gemm_peers --backend numba --threads 1 > table.md

For each layer: a search of `--seconds`, with the searches of the layers before it known (the first
starts with nothing), then one of `--more` seconds that goes on from there. What the first ended
with, what the second ended with and the default then race side by side in fresh processes. The
share is the speed of what a user has after the first search (its winner, or the default where
that is faster) over the fastest of the three. 20 layers take about 13 minutes; `--only` takes
some of them, which then start from what the database of an earlier call holds.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gemmbench.machine import available_memory_bytes, detect_machine
from gemmbench.offers import Offer
from gemmbench.race import Race, run_race
from gemmbench.run_options import RunOptions
from gemmbench.run_outcome import Outcome, exit_code
from gemmbench.runner import Runner
from gemmbench.space import Config
from gemmbench.stats import compare, summarize
from gemmbench.suite import Layer, Suite, load_suite, select_layers
from gemmbench.trial import RaceProtocol, Trial, TrialState
from gemmbench_results.store import Store, open_store

RACE_SECONDS = 6.0


class Terse:
    """Says on stderr which layer is being searched."""

    def layer(self, suite: str, name: str, position: int, total: int) -> None:
        print(f"{suite} {name} ({position + 1} of {total})", file=sys.stderr, flush=True)

    def step(self, text: str) -> None:
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("suite")
    parser.add_argument("--backend", default="numba")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--more", type=float, default=20.0)
    parser.add_argument("--only")
    parser.add_argument("--db", default="results/own_kernels.db")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    suite = load_suite(given.suite)
    suite = select_layers(suite, [given.only]) if given.only else suite
    with open_store(Path(given.db)) as store:
        runner = make_runner(store, given.backend, given.threads, given.seed)
        print(f"{runner.machine.cpu}, {given.threads} threads, backend {given.backend}\n")
        print("| layer | m×k×n | configs | share | ± | the default's share | processes |")
        print("|---|---|---|---|---|---|---|", flush=True)
        try:
            for position, layer in enumerate(suite.layers):
                runner.watcher.layer(suite.name, layer.name, position, len(suite.layers))
                print(row(runner, suite, layer, given.seconds, given.more), flush=True)
        except KeyboardInterrupt:
            runner.outcome.interrupted = True
        finally:
            runner.close()
        code = exit_code(runner.outcome)
        store.end(runner.outcome.run, code)  # a run that broke down has no end
    return code


def make_runner(store: Store, backend: str, threads: int, seed: int) -> Runner:
    """What tunes and races, on a new run of `store`."""
    machine, protocol = detect_machine(), RaceProtocol(threads=threads, seed=seed)
    options = RunOptions(
        backends=(backend,), tune="more", memory_bytes=int(0.9 * available_memory_bytes())
    )
    run = store.begin(" ".join(sys.argv), machine, protocol, seed)
    return Runner(options, protocol, machine, store, Terse(), Outcome(run))


def row(runner: Runner, suite: Suite, layer: Layer, seconds: float, more: float) -> str:
    """One line of the table."""
    with runner.arena(suite, layer, seconds) as race:
        offered = runner.offers.of(runner.options.backends[0], layer.problem, race.limits)
        (offer, *_) = [offer for offer in offered.offers if offer.space]
        first, configs = search(runner, race, offer, seconds)
        second, _ = search(runner, race, offer, more)
        contenders = [offer.contender]
        for config in (first, second):
            if config is not None and config not in [dict(c.config) for c in contenders]:
                contenders.append(replace(offer.contender, config=config, tuned=True))
        race.spec = replace(race.spec, contenders=tuple(contenders))
        race.limits = replace(race.limits, seconds=RACE_SECONDS)
        race.on_trial = runner.record
        trials = run_race(race)
    shape = layer.problem.gemm()
    return (
        f"| {layer.name} | {shape.m}×{shape.k}×{shape.n} | {configs} | {outcome(trials, first)} |"
    )


def outcome(raced: Sequence[Trial], first: Config | None) -> str:
    """The cells from the share on, of a race of the default, `first` and perhaps another."""
    trials = [t for t in raced if t.state is TrialState.COMPLETE and t.measurement]
    pace = {id(t): summarize(t.measurement).median for t in trials}
    default = next((t for t in trials if not t.contender.tuned), None)
    if default is None:
        failed = next(t for t in raced if not t.contender.tuned)
        return f"- | | the default was not timed ({failed.state}: {failed.reason}) | 0"
    best = min(trials, key=lambda t: pace[id(t)])
    found = next((t for t in trials if dict(t.contender.config) == first), default)
    had = min((default, found), key=lambda t: pace[id(t)])
    return (
        f"{pace[id(best)] / pace[id(had)]:.3f} | {doubt(best, had)} | "
        f"{pace[id(best)] / pace[id(default)]:.3f} | {len(best.measurement.processes())}"
    )


def search(runner: Runner, race: Race, offer: Offer, seconds: float) -> tuple[Config | None, int]:
    """The winner of a search of about `seconds` from what is stored, and how many it measured."""
    before, began = runner.outcome.evaluations, time.monotonic()
    config = runner.tuned(race, offer, offer.space, seconds) if offer.space else None
    took = time.monotonic() - began
    print(f"  {took:.1f} s of {seconds:g}", file=sys.stderr, flush=True)
    return (None if config is None else dict(config)), runner.outcome.evaluations - before


def doubt(best: Trial, had: Trial) -> str:
    """Half the 98 % interval of the share; nothing where one and the same is both."""
    effect = None if best is had else compare(best.measurement, had.measurement)
    return "" if effect is None else f"{(effect.high - effect.low) / 2:.3f}"


if __name__ == "__main__":
    raise SystemExit(main())
