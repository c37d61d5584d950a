"""The one measuring engine: contenders take turns, in random order, until the answer is known.

A race is run in heats. Each heat starts fresh processes, one for each backend, prepares and
verifies the contenders in them, and asks each for a block of calls in every round. Contenders
that are plainly slow leave after their first block; the leading ones go on to the next heat,
because a winner is only named when several fresh processes agree. What goes in and comes out is
plain data: nothing here knows the store or the terminal.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil, inf
from typing import Any, Protocol

import numpy as np

from gemmbench.backend import Location, locate_backend
from gemmbench.footprint import PROBES
from gemmbench.link import Link, RequestError, WorkerLostError, case_data, location_data
from gemmbench.machine import Machine, machine_to_data
from gemmbench.measurement import Measurement, Sample
from gemmbench.problem import Problem
from gemmbench.ranking import is_transform, rank, too_inexact
from gemmbench.reference import Case, Cases
from gemmbench.stats import median_interval, summarize
from gemmbench.trial import Contender, Environment, RaceProtocol, Trial, TrialState

SLOW_FACTOR = 4.0  # a contender this many times slower than the best leaves early:
LONG_BLOCK = 0.25  # seconds; after one block if it is long, since no interruption lasts that long,
SECOND_ROUND = 1  # else after a second one, since a short block may have been interrupted
LEADING_FACTOR = 1.5  # who is within this of the best goes on to the next heat
MIN_ROUNDS = 6  # fewer blocks of one process have no 95 % interval of their median
MAX_ROUNDS = 40
PRECISION = 0.01  # half-width of the in-process interval at which more rounds teach nothing
SHORT_BLOCK = 0.8  # a block shorter than this share of `block_seconds` is taken again, longer
STAGE_SECONDS = 0.2  # of calls taken apart into stages, at least
FEWEST_STAGE_REPEATS, MOST_STAGE_REPEATS = 3, 101  # and as many calls,
LONG_CALL = 2.0  # but one that takes so many seconds only once: a request has its time-out
PEAK_QUANTILE = 0.9  # a roof is what can be reached, so interrupted blocks do not lower it
EXTRA_HEATS = 3  # at most, while the verdict is undecided and there is time
CONFIRMING_HEATS = 2  # of those, for a win so close that one lucky process could have made it
CLOSE_WIN = 0.05

Clock = Callable[[], float]


class Yardstick(Protocol):
    """Something of known work that is timed in every round, such as the machine's roof."""

    def per_second(self) -> float:
        """Work per second of one timed block."""


class Talks(Protocol):
    """What a race needs of a worker; `link.Link` in earnest, a script in tests."""

    protocol: int

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The worker's reply. Raises RequestError or WorkerLostError."""

    def pin(self, core: int) -> None:
        """Keep it on one CPU."""

    def close(self) -> None:
        """End the worker."""


@dataclass(frozen=True, slots=True)
class RaceSpec:
    """Who races on what, and how it is measured."""

    suite: str
    layer: str
    problem: Problem
    contenders: tuple[Contender, ...]
    protocol: RaceProtocol
    machine: Machine


@dataclass(frozen=True, slots=True)
class Setting:
    """Another fill or cache state under which every contender races, beside the others."""

    name: str
    cases: Cases
    protocol: RaceProtocol


@dataclass(frozen=True, slots=True)
class Limits:
    """What a race may spend."""

    seconds: float  # for all heats together; the first block of each contender is always taken
    timeout: float  # seconds one request may take
    memory_bytes: int = 0  # of a worker; 0 is no limit


@dataclass(slots=True)
class Entrant:
    """A contender's progress through the race."""

    contender: Contender
    lane: str = ""  # entrants in different lanes never share a process
    setting: Setting | None = None  # instead of the race's own cases and protocol
    state: TrialState = TrialState.COMPLETE
    reason: str = ""
    samples: list[Sample] = field(default_factory=list)
    max_error: float | None = None
    error_bound: float | None = None
    relative_error: float | None = None
    rms_error: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)  # library, source_hash, workspace, stages
    loops: int = 1
    left: bool = False  # plainly slow: no further rounds
    verified: set[int] = field(default_factory=set)  # processes whose samples passed afterwards

    @property
    def racing(self) -> bool:
        """Whether it still takes part in rounds."""
        return self.state is TrialState.COMPLETE and not self.left

    def measurement(self) -> Measurement:
        """Its samples, none unless every check passed."""
        return Measurement(tuple(self.samples) if self.state is TrialState.COMPLETE else ())

    def fail(self, state: TrialState, reason: str) -> None:
        """End its race. What it measured before does not count."""
        self.state, self.reason = state, reason


OpenLink = Callable[[Location, Environment], Talks]
LinkKey = tuple[str, Environment, str]


@dataclass(slots=True)
class Race:
    """One race on one problem. Both roofs are timed in every round; `rng` orders the rounds."""

    spec: RaceSpec
    cases: Cases
    limits: Limits
    rng: random.Random
    roof: Yardstick | None = None
    memory: Yardstick | None = None  # of the bytes that the problem has; timed with the roof
    clock: Clock = time.monotonic
    open_link: OpenLink | None = None
    settings: tuple[Setting, ...] = ()  # under each of which everybody races to the end
    layout: int | None = None  # seed of where arrays begin; None: wherever they are allocated
    on_trial: Callable[[Trial], None] | None = None  # told of each trial as it becomes final
    peaks: list[float] = field(default_factory=list)
    bandwidths: list[float] = field(default_factory=list)

    def run(self) -> list[Trial]:
        """One trial for each contender, in the order given; with settings, one for each of those.

        Interrupted, it reports what the finished heats gave and lets the interrupt pass.
        """
        entrants = self.entrants()
        told: set[int] = set()
        try:
            self.run_heats(entrants, told)
        except KeyboardInterrupt:
            for entrant in entrants:
                entrant.samples = [s for s in entrant.samples if s.process in entrant.verified]
            self.tell([e for e in entrants if e.samples], told)
            raise
        self.tell(entrants, told)
        return [self.trial(entrant) for entrant in entrants]

    def entrants(self) -> list[Entrant]:
        """Every contender, once under each setting, which has processes of its own."""
        if not self.settings:
            return [Entrant(contender) for contender in self.spec.contenders]
        return [
            Entrant(contender, lane=setting.name, setting=setting)
            for contender in self.spec.contenders
            for setting in self.settings
        ]

    def run_heats(self, entrants: Sequence[Entrant], told: set[int]) -> None:
        """Heats until the answer is known or the budget is spent."""
        planned = self.spec.protocol.processes
        deadline = self.clock() + self.limits.seconds
        for heat in range(planned + EXTRA_HEATS if planned > 1 else 1):
            taking_part = list(entrants) if heat == 0 else self.leading(entrants)
            taking_part = [e for e in taking_part if id(e) not in told]  # what is told is final
            if not taking_part or (heat and self.clock() >= deadline):
                return
            if heat >= planned and self.decided(entrants, heat - planned):
                return
            self.tell([e for e in entrants if e not in taking_part], told)
            share = (deadline - self.clock()) / max(1, planned - heat)
            Heat(self, heat, taking_part, self.clock() + share).run()

    def tell(self, entrants: Sequence[Entrant], told: set[int]) -> None:
        """Report the trials of `entrants` that were not reported before."""
        for entrant in entrants:
            if id(entrant) not in told:
                told.add(id(entrant))
                if self.on_trial is not None:
                    self.on_trial(self.trial(entrant))

    def leading(self, entrants: Sequence[Entrant]) -> list[Entrant]:
        """Those worth another fresh process: near the best of their weights, or not yet beaten."""
        if self.settings:
            return [entrant for entrant in entrants if entrant.racing]
        trials = [self.trial(entrant) for entrant in entrants]
        open_still = {i for verdict in rank(trials) for i in verdict.leaders}
        pace = {i: summarize(t.measurement).median for i, t in enumerate(trials) if t.measurement}
        best: dict[str, float] = {}
        for i, seconds in pace.items():
            weights = trials[i].contender.weights
            if too_inexact(trials[i]):
                continue
            best[weights] = min(seconds, best.get(weights, seconds))
        return [
            entrant
            for i, entrant in enumerate(entrants)
            if entrant.racing
            and i in pace
            and (
                i in open_still
                or pace[i] <= LEADING_FACTOR * best.get(entrant.contender.weights, inf)
            )
        ]

    def decided(self, entrants: Sequence[Entrant], extra: int) -> bool:
        """Whether every kind of weights has a tie or a winner, a close one being confirmed."""
        if self.settings:
            return True
        for verdict in rank([self.trial(entrant) for entrant in entrants]):
            contested = verdict.kind == "winner" and verdict.margin is not None
            close = contested and (verdict.margin or 0) < CLOSE_WIN
            if verdict.kind == "undecided" or (close and extra < CONFIRMING_HEATS):
                return False
        return True

    def trial(self, entrant: Entrant) -> Trial:
        """The outcome of `entrant` as a value."""
        facts = entrant.facts
        return Trial(
            suite=self.spec.suite,
            layer=self.spec.layer,
            problem=self.spec.problem,
            contender=entrant.contender,
            state=entrant.state,
            reason=entrant.reason,
            threads=int(entrant.contender.config.get("threads", self.spec.protocol.threads)),
            library=facts.get("library", ""),
            source_hash=facts.get("source_hash", ""),
            max_error=entrant.max_error,
            error_bound=entrant.error_bound,
            relative_error=entrant.relative_error,
            rms_error=entrant.rms_error,
            error_limit=self.spec.protocol.max_error,
            measurement=entrant.measurement(),
            stages=stage_seconds(facts.get("stages", {}), entrant.measurement()),
            workspace_bytes=facts.get("workspace_bytes"),
            own_flops=facts.get("flops") if is_transform(entrant.contender) else None,
            peak_flops=self.peak(entrant),
            peak_bytes=None if entrant.facts.get("device") else _reached(self.bandwidths),
            call_bytes=facts.get("call_bytes"),
            cold_ratio=facts.get("cold_ratio"),
            device=facts.get("device_state", {}),
        )

    def peak(self, entrant: Entrant) -> float | None:
        """The roof of the machine, or what the entrant's own device cannot exceed."""
        if entrant.facts.get("device"):
            peak: float | None = entrant.facts["device_peak"]
            return peak
        return _reached(self.peaks)

    def link(self, contender: Contender) -> Talks:
        """A fresh worker for the backend of `contender`."""
        location = locate_backend(contender.backend)
        if self.open_link is not None:
            return self.open_link(location, contender.environment)
        return Link(
            location,
            self.spec.problem,
            threads=self.spec.protocol.threads,
            timeout=self.limits.timeout,
            memory_bytes=self.limits.memory_bytes,
            environment=contender.environment,
            layout=self.layout,
        )


class Heat:
    """One turn of a race in fresh processes.

    A `quick` heat, for searches, verifies on one case only and times on its operands, so that
    they need not be exchanged between configs; whoever it finds best is raced in earnest. Where
    an error limit is set, products are verified on rounded operands too, which tell their error.
    """

    def __init__(
        self,
        race: Race,
        process: int,
        entrants: Sequence[Entrant],
        deadline: float,
        *,
        quick: bool = False,
    ) -> None:
        self.race = race
        self.process = process
        self.entrants = list(entrants)
        self.deadline = deadline
        self.quick = quick
        self.started = race.clock()
        self.links: dict[LinkKey, Talks] = {}
        self.descriptions: dict[LinkKey, dict[str, Any]] = {}
        self.devices: dict[LinkKey, Talks] = {}  # who drives a device, instead of a backend
        self.prepared: set[int] = set()  # indices of entrants, which are also their slots

    def run(self) -> None:
        """Prepare and verify all, run rounds, verify again on changed inputs, end the workers."""
        try:
            for index in range(len(self.entrants)):
                self.attempt(index, self.make_ready)
            self.run_rounds()
            for index, entrant in enumerate(self.entrants):
                if any(sample.process == self.process for sample in entrant.samples):
                    self.attempt(index, self.finish)
            if any(entrant.state is not TrialState.COMPLETE for entrant in self.entrants):
                for entrant in self.entrants:
                    entrant.left = False  # it may have left because of somebody disqualified
        finally:
            self.close()

    def enter(self, entrant: Entrant) -> int:
        """The index of a late entrant."""
        self.entrants.append(entrant)
        return len(self.entrants) - 1

    def leave(self, index: int) -> None:
        """Free what an entrant holds in its worker."""
        if index in self.prepared:
            self.prepared.discard(index)
            self.attempt(index, lambda i: self.ask(self.entrants[i], "release", slot=i))

    def close(self) -> None:
        """End all workers."""
        for link in (*self.links.values(), *self.devices.values()):
            link.close()

    def run_rounds(self) -> int:
        """How many rounds were run."""
        first = self.race.clock()
        for round_ in range(MAX_ROUNDS):
            racing = [i for i, entrant in enumerate(self.entrants) if entrant.racing]
            if not racing:
                return round_
            if round_ and (self.out_of_time(round_, first) or self.settled(racing)):
                return round_
            self.race.rng.shuffle(racing)
            for index in racing:
                self.attempt(index, partial(self.time_block, round_))
            self.time_roof()
            self.drop_slow(round_)
        return MAX_ROUNDS

    def time_roof(self) -> None:
        """One block of each roof; a race goes on without one that is lost."""
        if self.race.roof is not None:
            try:
                self.race.peaks.append(self.race.roof.per_second())
                if self.race.memory is not None:
                    self.race.bandwidths.append(self.race.memory.per_second())
            except (RequestError, WorkerLostError):
                self.race.roof = None

    def attempt(self, index: int, step: Callable[[int], object]) -> None:
        """Do `step` for an entrant; whatever goes wrong ends that entrant alone."""
        entrant = self.entrants[index]
        if entrant.state is not TrialState.COMPLETE:
            return
        try:
            step(index)
        except RequestError as error:
            entrant.fail(TrialState.FAILED, str(error))
        except WorkerLostError as error:
            entrant.fail(TrialState.FAILED, str(error))
            self.discard_worker(entrant)

    def make_ready(self, index: int) -> None:
        """Prepare and verify an entrant in its worker, starting one where it is missing."""
        if index in self.prepared:
            return
        entrant = self.entrants[index]
        description = self.describe(entrant)
        reason = description["unavailable"] or description["unsupported"]
        if reason is not None:
            entrant.fail(TrialState.SKIPPED, reason)
            return
        entrant.facts.update(library=description["library"], source_hash=description["source_hash"])
        if description.get("device"):
            entrant.facts.update(device=True, device_peak=description["device_peak"])
        self.verify_before(index)
        self.prepared.add(index)

    def open(self, entrant: Entrant) -> None:
        """Start the worker of an entrant where it is missing; it gets ready on its own."""
        key = _key(entrant)
        if key not in self.links:
            self.links[key] = self.race.link(entrant.contender)

    def describe(self, entrant: Entrant) -> dict[str, Any]:
        """What the worker says of its backend, asked once a process.

        Backends of one device share the process that came first.
        """
        key = _key(entrant)
        self.open(entrant)
        if key not in self.descriptions:
            try:
                self.descriptions[key] = self.ask_descriptions(key, entrant)
            except RequestError:
                self.unlink(key)
                raise
            except WorkerLostError:
                self.discard_worker(entrant)
                raise
        return self.descriptions[key]

    def ask_descriptions(self, key: LinkKey, entrant: Entrant) -> dict[str, Any]:
        """The reply of its own worker, or of the one that drives its device, which it joins."""
        own = self.links[key]
        description = self.ask_description(own, entrant)
        device = str(description.get("device") or "")
        driver = self.devices.setdefault((device, *key[1:]), own) if device else own
        if driver is own:
            return description
        self.links[key] = driver
        own.close()
        return self.ask_description(driver, entrant)

    def unlink(self, key: LinkKey) -> None:
        """Take the worker from a backend, and end it unless others use it."""
        link = self.links.pop(key)
        if not any(other is link for other in (*self.links.values(), *self.devices.values())):
            link.close()

    def ask_description(self, link: Talks, entrant: Entrant) -> dict[str, Any]:
        """The reply of the worker behind `link` about the entrant's backend."""
        return link.ask(
            "describe",
            location=location_data(locate_backend(entrant.contender.backend)),
            machine=machine_to_data(self.race.spec.machine),
            threads=self.race.spec.protocol.threads,
            offers=False,
        )

    def verify_before(self, index: int) -> None:
        """All checks, with the contender left prepared on the operands that are timed."""
        entrant = self.entrants[index]
        cases, last = self.checks(entrant), None
        for case in cases:
            if last is None or entrant.contender.weights == "prepared":
                self.prepare(index, case)
            self.verify(index, case)
            last = case
            if entrant.state is not TrialState.COMPLETE:
                return
        if entrant.contender.weights == "prepared" and last is not self.timed(entrant):
            self.prepare(index, self.timed(entrant))

    def checks(self, entrant: Entrant) -> list[Case]:
        """The cases that an entrant must pass before it is timed."""
        cases = self.cases(entrant)
        if is_transform(entrant.contender):
            return [cases.uniform]
        if self.quick:
            # An error is known only where the answer is rounded.
            limited = self.race.spec.protocol.max_error is not None
            return [cases.integers, *([cases.uniform] if limited else [])]
        once = cases.selections if self.process == 0 else ()
        return [*once, cases.integers, cases.uniform]

    def timed(self, entrant: Entrant) -> Case:
        """The case whose operands are timed."""
        return self.checks(entrant)[0] if self.quick else self.cases(entrant).timed

    def cases(self, entrant: Entrant) -> Cases:
        """What it is verified and timed on."""
        return entrant.setting.cases if entrant.setting else self.race.cases

    def protocol(self, entrant: Entrant) -> RaceProtocol:
        """How it is timed."""
        return entrant.setting.protocol if entrant.setting else self.race.spec.protocol

    def prepare(self, index: int, case: Case) -> None:
        """Prepare an entrant on the operands of `case`."""
        entrant = self.entrants[index]
        protocol = self.protocol(entrant)
        at = locate_backend(entrant.contender.backend)
        shares = {"backend": at.key} if entrant.facts.get("device") else {}
        reply = self.ask(
            entrant,
            "prepare",
            slot=index,
            config=full_config(entrant.contender, protocol.threads),
            case=case_data(case),
            cold_bytes=protocol.cold_bytes,
            **shares,
        )
        entrant.facts.update(reply)

    def verify(self, index: int, case: Case, how: str = "poisoned") -> None:
        """Compare an entrant's answer on `case`; a wrong one ends its race."""
        entrant = self.entrants[index]
        reply = self.ask(entrant, "verify", slot=index, case=case_data(case), how=how)
        if reply["wrong"]:
            entrant.fail(TrialState.WRONG, f"{reply['wrong']} ({case.label} operands)")
        if case.magnitude is not None:
            worst = float("inf") if reply["max_error"] is None else reply["max_error"]
            entrant.max_error = max(worst, entrant.max_error or 0.0)
            entrant.error_bound = reply["bound"]
            for name in ("relative_error", "rms_error"):
                setattr(entrant, name, _worse(getattr(entrant, name), reply.get(name)))

    def time_block(self, round_: int, index: int) -> None:
        """One block of at least `block_seconds`, taken again if the first guess was too short."""
        self.make_ready(index)
        entrant, protocol = self.entrants[index], self.race.spec.protocol
        while entrant.state is TrialState.COMPLETE:
            seconds = self.ask(
                entrant,
                "time",
                slot=index,
                case=case_data(self.timed(entrant)),
                loops=entrant.loops,
                warmup=protocol.warmup_calls,
            )["seconds"]
            loops, entrant.loops = entrant.loops, block_loops(seconds, entrant.loops, protocol)
            if seconds >= SHORT_BLOCK * protocol.block_seconds or entrant.loops == loops:
                entrant.samples.append(Sample(seconds, loops, self.process, round_))
                return

    def finish(self, index: int) -> None:
        """Check what the last timed call left, then an answer on inputs changed since.

        The output is not cleared before the second check: whoever did nothing, or recognised the
        operands, still holds the answer to the old ones.
        """
        self.make_ready(index)
        entrant = self.entrants[index]
        cases = self.cases(entrant)
        if cases.timed is cases.base:
            self.verify(index, cases.timed, "timed")
        if self.process == 0:
            entrant.facts["stages"] = self.ask(
                entrant,
                "stages",
                slot=index,
                case=case_data(cases.timed),
                repeats=stage_repeats(self.last_call(entrant)),
            )
            timed, probes = case_data(cases.timed), self.probes(entrant)
            entrant.facts.update(
                self.ask(entrant, "footprint", slot=index, case=timed, probes=probes)
            )
        if entrant.facts.get("device"):
            entrant.facts["device_state"] = self.ask(entrant, "device_state")["state"]
        prepared = entrant.contender.weights == "prepared"
        if prepared and cases.timed is not cases.base:
            self.prepare(index, cases.base)
        self.verify(index, cases.changed_x if prepared else cases.changed, "stale")
        entrant.verified.add(self.process)

    def ask(self, entrant: Entrant, method: str, **params: Any) -> dict[str, Any]:
        """The reply of the worker that holds `entrant`."""
        timeout = self.race.limits.timeout  # which a search changes as it goes
        return self.links[_key(entrant)].ask(method, timeout=timeout, **params)

    def discard_worker(self, culprit: Entrant) -> None:
        """Forget a lost worker; the others it held are prepared again in a new one when due."""
        key = _key(culprit)
        if key not in self.links:
            return
        lost = self.links[key]
        lost.close()
        shared = {other for other, link in self.links.items() if link is lost}
        self.links = {other: link for other, link in self.links.items() if link is not lost}
        self.devices = {at: link for at, link in self.devices.items() if link is not lost}
        for other in shared:
            self.descriptions.pop(other, None)
        self.prepared -= {i for i, e in enumerate(self.entrants) if _key(e) in shared}

    def out_of_time(self, rounds: int, first: float) -> bool:
        """Whether the deadline has passed and the rounds so far are worth their preparation."""
        now = self.race.clock()
        worth = rounds >= MIN_ROUNDS or now - first >= first - self.started
        return now >= self.deadline and worth

    def drop_slow(self, round_: int) -> None:
        """Contenders many times slower than the best of their weights leave with what they have."""
        if self.race.settings:
            return
        racing = [e for e in self.entrants if e.racing and e.samples]
        pace = [min(e.measurement().seconds_per_call(self.process)) for e in racing]
        exact = [not too_inexact(self.race.trial(e)) for e in racing]
        for entrant, seconds in zip(racing, pace, strict=True):
            kind = entrant.contender.weights
            best = min(
                (
                    p
                    for e, p, counts in zip(racing, pace, exact, strict=True)
                    if counts and e.contender.weights == kind
                ),
                default=inf,
            )
            sure = round_ >= SECOND_ROUND or entrant.samples[-1].seconds >= LONG_BLOCK
            entrant.left = sure and seconds > SLOW_FACTOR * best

    def settled(self, racing: Sequence[int]) -> bool:
        """Whether the median of everybody still racing is known within `PRECISION`."""
        for index in racing:
            calls = self.entrants[index].measurement().seconds_per_call(self.process)
            if len(calls) < MIN_ROUNDS:
                return False
            low, high = median_interval(calls)
            if high - low > 2 * PRECISION * float(np.median(calls)):
                return False
        return True

    def probes(self, entrant: Entrant) -> int:
        """How many calls are probed for coldness: a long one only once, as it is taken apart."""
        return 1 if entrant.left or self.last_call(entrant) >= LONG_CALL else PROBES

    @staticmethod
    def last_call(entrant: Entrant) -> float:
        """Seconds a call of its latest block."""
        return entrant.samples[-1].seconds / entrant.samples[-1].loops


def full_config(contender: Contender, threads: int) -> dict[str, Any]:
    """The config as a backend's `prepare` gets it; a search space may lower the threads."""
    choice = {"algorithm": contender.algorithm, "weights": contender.weights}
    return {"threads": threads, **contender.config, **choice}


def _reached(blocks: Sequence[float]) -> float | None:
    """What a roof reached in its better blocks; None where it was not timed."""
    return float(np.quantile(blocks, PEAK_QUANTILE)) if blocks else None


def block_loops(seconds: float, loops: int, protocol: RaceProtocol) -> int:
    """Calls that fill `block_seconds`, from a block of `loops` calls that took `seconds`."""
    wanted = ceil(protocol.block_seconds * loops / max(seconds, 1e-9))
    return max(1, min(wanted, 100 * loops))


def stage_seconds(taken: dict[str, Any], measurement: Measurement) -> dict[str, float]:
    """Seconds of each stage at the pace of the race, from those `taken` beside whole calls.

    The machine's pace may have been another when a call was taken apart, in one process of several;
    what the stages do not add up to, beside whole calls of the same moment, they still do not.
    """
    stages: dict[str, float] = taken.get("seconds", {})
    if not stages or not measurement:
        return {}
    pace = summarize(measurement).median / float(taken["call"])
    return {name: seconds * pace for name, seconds in stages.items()}


def stage_repeats(seconds: float) -> int:
    """How many calls that take `seconds` are taken apart; odd, so that a median is one of them."""
    if seconds >= LONG_CALL:
        return 1
    wanted = ceil(STAGE_SECONDS / max(seconds, 1e-9)) | 1
    return min(max(wanted, FEWEST_STAGE_REPEATS), MOST_STAGE_REPEATS)


def _worse(before: float | None, now: float | None) -> float | None:
    """The larger error; None where neither is known."""
    return max((error for error in (before, now) if error is not None), default=None)


def _key(entrant: Entrant) -> LinkKey:
    return entrant.contender.backend, entrant.contender.environment, entrant.lane
