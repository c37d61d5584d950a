"""`gemmbench run` and `tune`: every layer of a suite, every way of computing it, tuned and raced.

One layer at a time: ask each backend what it offers, search the spaces of those that have knobs
(or take the stored winner), then race everything together. `tune` leaves out what has no knobs,
gives the search most of the time, and always searches on. Each trial is recorded as it ends.
"""

import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from gemmbench.backend import PER_IMAGE, installed_backends, locate_backend
from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.link import Link, RequestError, WorkerLostError, location_data
from gemmbench.machine import Machine, machine_to_data
from gemmbench.peak import Roof, stream_bytes
from gemmbench.problem import Conv2d, Problem
from gemmbench.race import Limits, Race, RaceSpec, run_race
from gemmbench.reference import Cases, needed_bytes
from gemmbench.software import Software
from gemmbench.space import Config, SearchSpace, space_from_data
from gemmbench.suite import Layer, Suite
from gemmbench.trial import Contender, RaceProtocol, Recorder, Trial, TrialState
from gemmbench.tune.evidence import Source
from gemmbench.tune.memory import Memory, recall
from gemmbench.tune.portfolio import leaders
from gemmbench.tune.strategies import DEFAULT_STRATEGY, check_strategy, make_strategy
from gemmbench.tune.tuner import Tuner, tuning_limits

SECONDS_PER_LAYER = 18.0  # default budget: AlexNet's eight layers end under three minutes
CONTENDERS_A_BACKEND = 10  # five algorithms, each with a default and a tuned config
TUNING_SHARE = 0.4  # of a layer's budget goes to searching, the rest to the race,
TUNE_COMMAND_SHARE = 0.7  # or this much where tuning is what was asked for
SHARING_SHARE = 0.15  # of the budget, where leading configs are measured on the other layers too
# "more": search on from what is stored; "stored": use what is stored, search nothing
Tune = Literal["auto", "never", "force", "more", "stored"]
Described = dict[tuple[str, Problem], dict[str, Any]]  # what a backend says of a problem


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked for, defaults filled in."""

    backends: tuple[str, ...] = ()  # specs; () means every installed one
    algorithms: tuple[str, ...] = ()  # () means all
    weights: tuple[str, ...] = ("plain",)
    lowerings: tuple[str, ...] = (PER_IMAGE,)  # of a batch, where an algorithm has several
    tune: Tune = "auto"
    strategy: str = DEFAULT_STRATEGY
    imported: tuple[Source, ...] = ()  # recordings of the like, to start from
    space: SearchSpace | None = None  # instead of the backends' own
    target: float | None = None  # share of the machine's peak at which a search ends
    portfolio: bool = False  # measure what leads on one layer on all the others too
    budget: float | None = None  # seconds for the whole command
    evaluations: int = 200  # most configs of one search
    timeout: float = 60.0
    memory_bytes: int = 0

    def tuning_share(self) -> float:
        """The share of a layer's time that goes to searching."""
        return TUNE_COMMAND_SHARE if self.tune == "more" else TUNING_SHARE

    def specs(self) -> tuple[str, ...]:
        """The backends to race."""
        return self.backends or tuple(sorted(installed_backends()))


@dataclass(frozen=True, slots=True)
class Offer:
    """One way that a backend computes a problem, with what can be tuned in it."""

    contender: Contender
    space: SearchSpace | None
    source_hash: str


@dataclass(slots=True)
class Outcome:
    """What a run gave: its race trials, and whether it was cut short."""

    run: int
    trials: list[Trial] = field(default_factory=list)
    evaluations: int = 0
    reused: int = 0
    interrupted: bool = False
    seconds: float = 0.0  # that the layers took together
    searched: set[tuple[str, str, str]] = field(default_factory=set)  # suite, layer, label


class Watcher(Protocol):
    """Who is told how far a run has come."""

    def layer(self, suite: str, name: str, position: int, total: int) -> None:
        """Layer `position` of `total` begins, counted from 0."""

    def step(self, text: str) -> None:
        """What is being done now, in a few words."""


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
            runner.share(layers, problems, started + seconds)
    except KeyboardInterrupt:
        outcome.interrupted = True
    finally:
        runner.close()
        outcome.seconds = time.monotonic() - started
    recorder.end(outcome.run, exit_code(outcome))  # a run that broke down has no end
    return outcome


def begin_run(
    layers: "Sequence[tuple[Suite, Layer]]",
    options: RunOptions,
    protocol: RaceProtocol,
    machine: Machine,
    recorder: Recorder,
    watcher: Watcher,
    command: str,
    software: Software | None = None,
) -> "Runner":
    """A run that has begun. Raises GemmbenchError before anything is written on bad input."""
    check_strategy(options.strategy)
    check_memory(layers, options)
    problems = [layer.problem for _, layer in layers]
    described = check_backends(problems, options, protocol, machine)
    outcome = Outcome(recorder.begin(command, machine, protocol, protocol.seed, software))
    return Runner(options, protocol, machine, recorder, watcher, outcome, described)


def budget_seconds(suites: Sequence[Suite], options: RunOptions) -> float:
    """Seconds that the whole command may take, as asked for or by the number of layers."""
    return options.budget or SECONDS_PER_LAYER * sum(len(suite.layers) for suite in suites)


def exit_code(outcome: Outcome) -> int:
    """130 interrupted, 5 a wrong result, 6 a crash or time-out, else 0, in this precedence."""
    states = {trial.state for trial in outcome.trials}
    if outcome.interrupted:
        return 130
    if TrialState.WRONG in states:
        return 5
    return 6 if TrialState.FAILED in states else 0


@dataclass(slots=True)
class Runner:
    """Runs layers one after another, keeping the roof's worker and the outcome between them."""

    options: RunOptions
    protocol: RaceProtocol
    machine: Machine
    recorder: Recorder
    watcher: Watcher
    outcome: Outcome
    described: Described = field(default_factory=dict)
    roofs: dict[str, Roof | None] = field(default_factory=dict)  # by dtype; None if it broke
    broken: "dict[str, NoOfferError]" = field(default_factory=dict)  # specs that cannot be asked
    declined: dict[str, str] = field(default_factory=dict)  # asked for, and not for this layer

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

    def share(
        self, layers: Sequence[tuple[Suite, Layer]], problems: Sequence[Problem], deadline: float
    ) -> None:
        """Measure on each layer what leads on the others, as far as there is time."""
        for position, (suite, layer) in enumerate(layers):
            seconds = (deadline - time.monotonic()) / (len(layers) - position)
            if seconds <= 0:
                return
            self.watcher.layer(suite.name, layer.name, position, len(layers))
            specs, late = self.options.specs(), time.monotonic() + seconds
            with self.arena(suite, layer, seconds) as race:
                for at, spec in enumerate(specs):
                    left = max(late - time.monotonic(), 0) / (len(specs) - at)
                    limits = replace(race.limits, seconds=left)
                    self.share_leaders(replace(race, limits=limits), spec, problems)

    def share_leaders(self, race: Race, spec: str, problems: Sequence[Problem]) -> None:
        """Measure with `spec` what leads on any of `problems` and was not measured here yet."""
        self.watcher.step(f"trying what leads elsewhere with {spec}")
        try:
            offers = [offer for offer in self.offers(race, spec) if offer.space is not None]
        except NoOfferError:
            return  # it was recorded when the layer was run
        for offer in offers:
            limits = replace(race.limits, seconds=race.limits.seconds / len(offers))
            self.visit_leaders(replace(race, limits=limits, roof=None), offer, problems)

    def visit_leaders(self, race: Race, offer: Offer, problems: Sequence[Problem]) -> None:
        """Measure the leaders on `problems` that are in this problem's space.

        The default and this problem's own leader come first, which link their pace to the search's.
        """
        found = self.recorder.evaluations(self.machine, race.spec.protocol, offer.contender)
        own = [e for e in found if e.here and e.source_hash == offer.source_hash]
        known = [e.config for e in own if e.problem == race.spec.problem]
        space = offer.space
        if space is None:
            return
        missing = [c for c in leaders(own, problems) if c not in known and c in space]
        links: list[Config] = [dict(space.default)]
        links += [c for c in leaders(own, [race.spec.problem])[:1] if c not in links]
        if missing:
            strategy = make_strategy("exhaustive", space, 0)
            limits = tuning_limits(race.limits.seconds, race.limits)
            arena = replace(race, limits=limits)
            tuner = Tuner(
                arena, offer.contender, strategy, len(missing), self.record, purpose="share"
            )
            tuner.visit([*(c for c in links if c in known), *missing])

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
                self.roof(layer.problem.dtype),
                memory=self.memory_roof(layer.problem),
            )

    def contenders(self, race: Race, spec: str, seconds: float) -> list[Contender]:
        """What `spec` enters in the race: each algorithm's default config, and its tuned one."""
        try:
            offers = self.offers(race, spec)
        except NoOfferError as refusal:
            if self.options.tune != "more" or spec in self.options.backends:
                self.record(refused(race, spec, refusal))
            return []
        for algorithm, why in self.declined.items():
            declined = NoOfferError(TrialState.SKIPPED, why)
            self.record(refused(race, spec, declined, algorithm))
        tunable = sum(1 for offer in offers if offer.space is not None)
        entered = []
        for offer in offers:
            default = offer.contender
            config = None
            if offer.space is not None and self.options.tune != "never":
                share = self.options.tuning_share() * seconds / tunable
                config = self.tuned(race, offer, offer.space, share)
            incumbent = self.incumbent(race, offer) if self.options.tune == "more" else None
            found = [dict(each) for each in (config, incumbent) if each is not None]
            if dict(default.config) not in found:
                entered.append(default)
            for at, each in enumerate(found):
                if each not in found[:at]:
                    tuned = each != dict(default.config)
                    entered.append(replace(default, config=each, tuned=tuned))
        return entered

    def offers(self, race: Race, spec: str) -> list[Offer]:
        """What the backend says it can do with the problem. Raises NoOfferError with the reason."""
        key = (spec, race.spec.problem)
        if spec in self.broken:
            raise self.broken[spec]
        try:
            reply = self.described.pop(key, None) or describe(
                *key, self.protocol.threads, self.machine, race.limits, self.options.lowerings
            )
        except NoOfferError as error:
            if error.lost:
                self.broken[spec] = error  # do not crash or hang again on every layer
            raise
        reason = reply["unavailable"] or reply["unsupported"]
        if reason is not None:
            refusal = NoOfferError(TrialState.SKIPPED, reason)
            if reply["unavailable"] is not None:
                self.broken[spec] = refusal  # nor will it be there for the next layer
            raise refusal
        asked = self.options.algorithms
        self.declined = {a: why for a, why in reply.get("declined", {}).items() if a in asked}
        offers = []
        for offer in reply["offers"]:
            space = self.options.space or (
                space_from_data(offer["space"]) if offer["space"] else None
            )
            contender = Contender(
                spec, offer["algorithm"], offer["weights"], dict(space.default) if space else {}
            )
            if self.wanted(contender) and (space is not None or self.options.tune != "more"):
                offers.append(Offer(contender, space, reply["source_hash"]))
        if not offers:
            ways = ", ".join(f"{o['algorithm']} {o['weights']}" for o in reply["offers"])
            knobs = " to tune" if self.options.tune == "more" else ""
            why = "; ".join(self.declined.values()) or f"offers only {ways or 'nothing'}{knobs}"
            raise NoOfferError(TrialState.SKIPPED, why)
        return offers

    def wanted(self, contender: Contender) -> bool:
        """Whether the user's choice of algorithms and weights includes `contender`."""
        algorithms = self.options.algorithms
        return contender.weights in self.options.weights and (
            not algorithms or contender.algorithm in algorithms
        )

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
        roof = self.roof(problem.dtype) if self.options.target is not None else None
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

    def roof(self, dtype: str) -> Roof | None:
        """The FMA roof for `dtype`, its worker kept for the whole run; None if it cannot run."""
        if dtype not in self.roofs:
            self.watcher.step(f"measuring the {dtype} roof")
            try:
                roof = Roof.start("flops", dtype, self.machine, self.protocol.threads)
            except (RequestError, WorkerLostError):
                roof = None
            self.roofs[dtype] = roof
        return self.roofs[dtype]

    def memory_roof(self, problem: Problem) -> Roof | None:
        """Reading as many bytes as `problem` has, from memory where operands are cold."""
        roof = self.roof(problem.dtype)
        if roof is None:
            return None
        cold = self.protocol.cache == "cold"
        whole = stream_bytes(self.machine)
        try:
            return roof.reading(whole if cold else min(problem.minimal_bytes(), whole))
        except (RequestError, WorkerLostError):
            return None

    def close(self) -> None:
        """End the roofs' workers."""
        for roof in self.roofs.values():
            if roof is not None:
                roof.close()


class NoOfferError(Exception):
    """A backend takes no part: `state` says whether it declined or broke, `lost` how badly."""

    def __init__(self, state: TrialState, reason: str, *, lost: bool = False) -> None:
        super().__init__(reason)
        self.state = state
        self.lost = lost  # its process crashed or hung, rather than raised


def describe(
    spec: str,
    problem: Problem,
    threads: int,
    machine: Machine,
    limits: Limits,
    lowerings: Sequence[str] = (PER_IMAGE,),
) -> dict[str, Any]:
    """What the backend `spec` says of itself and `problem`, from a process of its own.

    Raises NoOfferError if importing or asking it fails.
    """
    location = locate_backend(spec)
    with Link(
        location,
        problem,
        threads=threads,
        timeout=limits.timeout,
        memory_bytes=limits.memory_bytes,
    ) as link:
        try:
            return link.ask(
                "describe",
                location=location_data(location),
                machine=machine_to_data(machine),
                threads=threads,
                offers=True,
                lowering=list(lowerings),
            )
        except (RequestError, WorkerLostError) as error:
            lost = isinstance(error, WorkerLostError)
            raise NoOfferError(TrialState.FAILED, str(error), lost=lost) from error


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


def check_names(suites: Sequence[Suite]) -> None:
    """Raise GemmbenchError if two suites of one run have the same name."""
    seen: dict[str, Suite] = {}
    for suite in suites:
        if suite.name in seen:
            raise GemmbenchError(
                f"{suite.origin}: suite {suite.name!r} is also the name of "
                f"{seen[suite.name].origin}. Run them one at a time, or rename one."
            )
        seen[suite.name] = suite


def check_memory(layers: Sequence[tuple[Suite, Layer]], options: RunOptions) -> None:
    """Raise GemmbenchError if a layer's operands and columns exceed the memory allowed."""
    allowed, backends = options.memory_bytes, len(options.specs())
    for suite, layer in layers:
        needed = needed_bytes(layer.problem, backends, CONTENDERS_A_BACKEND * backends)
        needed += layer.problem.im2col_bytes() * _images_lowered(layer.problem, options)
        if allowed and needed > allowed:
            raise GemmbenchError(
                f"{suite.origin}: layer {layer.name!r}: needs {needed / 2**30:.2f} GiB for "
                f"operands, reference and workspace, {allowed / 2**30:.2f} GiB are allowed. "
                "Use a smaller --batch, leave it out with --only, or raise --memory."
            )


def _images_lowered(problem: Problem, options: RunOptions) -> int:
    """Of how many images the columns are held at a time."""
    if isinstance(problem, Conv2d) and "whole" in options.lowerings:
        return problem.batch
    return 1


def check_backends(
    problems: Sequence[Problem], options: RunOptions, protocol: RaceProtocol, machine: Machine
) -> Described:
    """What the backends asked for by name say of the first problem, unless they break.

    Where algorithms are asked for, every backend is asked about the first problem of each kind.
    Raises GemmbenchError if a backend is unknown or unavailable, or nobody offers an algorithm.
    """
    limits = Limits(0, options.timeout, options.memory_bytes)
    firsts = list({problem.kind: problem for problem in reversed(problems)}.values())
    asked = {(spec, problems[0]) for spec in options.backends}
    if options.algorithms:
        asked |= {(spec, problem) for spec in options.specs() for problem in firsts}
    described: Described = {}
    for spec, problem in sorted(asked, key=str):
        locate_backend(spec)
        try:
            reply = describe(spec, problem, protocol.threads, machine, limits, options.lowerings)
        except NoOfferError as error:
            if error.lost or spec not in options.backends:
                continue  # it crashed or hung: that is a result, and the run records it
            raise GemmbenchError(f"backend {spec!r} cannot be used: {error}") from error
        if reply["unavailable"] is not None and spec in options.backends:
            raise GemmbenchError(
                f"backend {spec!r} is unavailable: {reply['unavailable'].rstrip('.')}. "
                "Run 'gemmbench backends' to see which are usable."
            )
        described[spec, problem] = reply
    offered = {offer["algorithm"] for reply in described.values() for offer in reply["offers"]}
    offered |= {name for reply in described.values() for name in reply.get("declined", ())}
    for algorithm in options.algorithms:
        if algorithm not in offered:
            raise GemmbenchError(
                f"--algorithm: no backend offers {algorithm!r} here."
                f"{did_you_mean(algorithm, offered)}"
            )
    return described
