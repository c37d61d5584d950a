"""Runs one layer after another: what backends offer for it, tuned, and then raced together."""

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field, replace
from pathlib import Path

from gemmbench.machine import Machine
from gemmbench.offers import Described, NoOfferError, Offer, Offers
from gemmbench.problem import Problem
from gemmbench.race import Limits, Race, RaceSpec, run_race
from gemmbench.reference import Cases
from gemmbench.roofs import Roofs
from gemmbench.run_options import RunOptions
from gemmbench.run_outcome import Outcome, Watcher
from gemmbench.space import Config, SearchSpace
from gemmbench.suite import Layer, Suite
from gemmbench.trial import Contender, RaceProtocol, Recorder, Trial, TrialState
from gemmbench.tune.memory import Memory, recall
from gemmbench.tune.strategies import make_strategy
from gemmbench.tune.tuner import Tuner, tuning_limits


@dataclass(slots=True)
class Runner:
    """What a run keeps from layer to layer: the roofs, who can be asked, and the outcome.

    `described` is what some backends have said of themselves already.
    """

    options: RunOptions
    protocol: RaceProtocol
    machine: Machine
    recorder: Recorder
    watcher: Watcher
    outcome: Outcome
    described: InitVar[Described | None] = None
    offers: Offers = field(init=False)
    roofs: Roofs = field(init=False)

    def __post_init__(self, described: Described | None) -> None:
        self.offers = Offers(self.options, self.protocol, self.machine, described or {})
        self.roofs = Roofs(self.protocol, self.machine, self.watcher)

    def run_layer(self, suite: Suite, layer: Layer, seconds: float) -> None:
        """Tune and race one layer within about `seconds`."""
        started = time.monotonic()
        with self.arena(suite, layer, seconds) as race:
            contenders: list[Contender] = []
            for spec in self.options.specs():
                self.watcher.step(f"asking {spec}")
                contenders += self.contenders(race, spec, seconds)
            left = max(seconds - (time.monotonic() - started), 0)
            self.watcher.step(f"racing ({len(contenders)} contenders)")
            race.spec = replace(race.spec, contenders=tuple(contenders))
            race.limits = replace(race.limits, seconds=left)
            race.on_trial = self.record
            run_race(race)

    @contextmanager
    def arena(self, suite: Suite, layer: Layer, seconds: float) -> Iterator[Race]:
        """A race on the layer without contenders, its operands on disk while it lasts."""
        limits = [x for x in (self.protocol.max_error, suite.max_error) if x is not None]
        protocol = replace(self.protocol, max_error=min(limits, default=None))
        with tempfile.TemporaryDirectory(prefix="gemmbench-") as folder:
            yield Race(
                RaceSpec(suite.name, layer.name, layer.problem, (), protocol, self.machine),
                Cases(layer.problem, Path(folder), self.protocol.fill, self.protocol.seed),
                Limits(seconds, self.options.timeout, self.options.memory_bytes),
                random.Random(f"{self.protocol.seed}/{layer.name}"),
                self.roofs.flops(layer.problem.dtype),
                memory=self.roofs.memory(layer.problem),
            )

    def contenders(self, race: Race, spec: str, seconds: float) -> list[Contender]:
        """What `spec` enters in the race: each algorithm's default config, and its tuned one."""
        try:
            offered = self.offers.of(spec, race.spec.problem, race.limits)
        except NoOfferError as refusal:
            if self.options.tune != "more" or spec in self.options.backends:
                self.record(refused(race, spec, refusal))
            return []
        for algorithm, why in offered.declined.items():
            declined = NoOfferError(TrialState.SKIPPED, why)
            self.record(refused(race, spec, declined, algorithm))
        tunable = sum(1 for offer in offered.offers if offer.space is not None)
        share = self.options.tuning_share() * seconds / max(tunable, 1)
        return [one for offer in offered.offers for one in self.entered(race, offer, share)]

    def entered(self, race: Race, offer: Offer, seconds: float) -> list[Contender]:
        """The contenders that an offer comes to, after a search of `seconds` where one is due."""
        default = offer.contender
        config = None
        if offer.space is not None and self.options.tune != "never":
            config = self.tuned(race, offer, offer.space, seconds)
        incumbent = self.incumbent(race, offer) if self.options.tune == "more" else None
        found = [dict(each) for each in (config, incumbent) if each is not None]
        entered = [] if dict(default.config) in found else [default]
        for at, each in enumerate(found):
            if each not in found[:at]:
                tuned = each != dict(default.config)
                entered.append(replace(default, config=each, tuned=tuned))
        return entered

    def tuned(self, race: Race, offer: Offer, space: SearchSpace, seconds: float) -> Config | None:
        """The stored winner, or the winner of a search of `seconds`; None if no config passed."""
        if self.options.tune in ("auto", "stored"):
            incumbent = self.incumbent(race, offer)
            if incumbent is not None:
                self.outcome.reused += 1
                return incumbent
        if self.options.tune == "stored":
            return None
        self.watcher.step(f"tuning {offer.contender.label()}")
        began = race.clock()
        memory = self.memory(race, offer)
        strategy = make_strategy(
            self.options.strategy,
            space,
            self.protocol.seed,
            [*self.options.imported, *memory.sources],
        )
        left = max(seconds - (race.clock() - began), 0.0)  # what is known takes time to learn
        tuner = Tuner(
            replace(race, limits=tuning_limits(left, race.limits), roof=None),
            offer.contender,
            strategy,
            self.options.evaluations,
            self.record,
            stored=[result for result in memory.stored if result[0] in space],
            target=self.target_seconds(race.spec.problem),
        )
        return tuner.run()

    def incumbent(self, race: Race, offer: Offer) -> Config | None:
        """The stored winner, its axes in the order of the space; None if it is not in there."""
        stored = self.recorder.best_config(
            self.machine, race.spec.protocol, race.spec.problem, offer.contender, offer.source_hash
        )
        if stored is None or offer.space is None or stored not in offer.space:
            return None
        return {axis.name: stored[axis.name] for axis in offer.space.axes}

    def memory(self, race: Race, offer: Offer) -> Memory:
        """What earlier searches of the same kernel found; nothing where all is to be new."""
        if self.options.tune == "force":
            return Memory()
        found = self.recorder.evaluations(self.machine, race.spec.protocol, offer.contender)
        return recall(found, race.spec.problem, offer.source_hash)

    def target_seconds(self, problem: Problem) -> float | None:
        """Seconds per call that reach the target share of the peak; None without a target."""
        roof = self.roofs.flops(problem.dtype) if self.options.target is not None else None
        if roof is None or self.options.target is None:
            return None
        return problem.flops() / (self.options.target * roof.per_second())

    def record(self, trial: Trial) -> None:
        """Keep a trial, committed at once."""
        self.recorder.record(self.outcome.run, trial)
        if trial.purpose == "race":
            self.outcome.trials.append(trial)
        else:
            self.outcome.evaluations += 1
            self.outcome.searched.add((trial.suite, trial.layer, trial.contender.label()))

    def close(self) -> None:
        """End the roofs' workers."""
        self.roofs.close()


def refused(race: Race, spec: str, refusal: NoOfferError, algorithm: str = "") -> Trial:
    """The trial of a backend that entered no contender, or none for `algorithm`."""
    return Trial(
        suite=race.spec.suite,
        layer=race.spec.layer,
        problem=race.spec.problem,
        contender=Contender(spec, algorithm),
        state=refusal.state,
        reason=str(refusal),
        threads=race.spec.protocol.threads,
    )
