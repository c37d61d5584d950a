"""`gemmbench check`: did head get slower than base? And `aa`, which asks it of identical code.

Layer by layer, each committed when it is done: process pairs are measured until the gate's
statistics have seen enough, flagged layers are confirmed in new ones, and a frozen kernel paired
with itself says whether this machine can tell at all.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from gemmbench.bout import Bout
from gemmbench.check_outcome import (
    CheckOptions,
    CheckOutcome,
    Labels,
    Recorder,
    check_protocol,
    compare,
)
from gemmbench.comparison import Comparison, GateVerdict
from gemmbench.control import CONTROL, CONTROL_LAYER, CONTROL_PROBLEM
from gemmbench.gate import (
    LAYER_LEVEL,
    LOOKS,
    Screening,
    Suspects,
    Thresholds,
    confirm,
    confirmed,
    flagged,
    look_at,
    screen,
)
from gemmbench.machine import Machine
from gemmbench.pairs import Duel, seeded, verified_alone
from gemmbench.problem import Problem
from gemmbench.race import Limits, OpenLink, Race, RaceSpec
from gemmbench.reference import Cases
from gemmbench.run_options import check_names
from gemmbench.run_outcome import Watcher
from gemmbench.sides import Duo, Side
from gemmbench.software import Software
from gemmbench.suite import Suite
from gemmbench.trial import Contender, RaceProtocol, Trial, TrialState
from gemmbench.ways import Alone, Ask, Asker, Found, Refusal, Way, find_ways

Clock = Callable[[], float]


@dataclass(slots=True)
class Check:
    """One check of some suites. `clock`, `open_link` and `ask` are replaced in tests."""

    suites: Sequence[Suite]
    duos: Sequence[Duo]
    options: CheckOptions
    protocol: RaceProtocol  # as for a race: stored winners are looked up under it
    machine: Machine
    recorder: Recorder
    watcher: Watcher
    software: Software | None = None  # what runs here, for the history
    clock: Clock = time.monotonic
    open_link: OpenLink | None = None
    ask: Ask | None = None
    deadline: float = field(default=inf, init=False)
    outcome: CheckOutcome = field(default_factory=lambda: CheckOutcome(0), init=False)
    suspects: Suspects = field(default_factory=lambda: Suspects(1), init=False)

    def run(self, command: str) -> CheckOutcome:
        """Compare every layer. Raises GemmbenchError before anything is measured on bad input.

        Ctrl-C ends it early with what is recorded kept. The run's end is for the caller to note,
        who knows the exit code.
        """
        check_names(self.suites)
        started = self.clock()
        self.deadline = started + (self.options.time_budget or inf)
        found = self.find()
        protocol = check_protocol(self.protocol)
        run = self.recorder.begin(command, self.machine, protocol, protocol.seed, self.software)
        ways = [one for one in found if isinstance(one, Way)]
        self.suspects = Suspects(len(ways))
        self.outcome = CheckOutcome(
            run,
            refusals=[one for one in found if isinstance(one, Refusal)],
            notes=list(dict.fromkeys(event for way in ways for event in way.events)),
        )
        try:
            self.compare(ways)
            self.verify([one for one in found if isinstance(one, Alone)])
        except KeyboardInterrupt:
            self.outcome.interrupted = True
        self.outcome.seconds = self.clock() - started
        return self.outcome

    def find(self) -> list[Found]:
        """What is to be compared, and what cannot be."""
        winner = partial(self.recorder.best_config, self.machine, self.protocol)
        wanted = self.options.wanted
        if self.ask is not None:
            return list(find_ways(self.suites, self.duos, wanted, self.ask, winner))
        with ExitStack() as stack:
            askers: dict[Side, Asker] = {}

            def ask(side: Side, problem: Problem) -> dict[str, Any]:
                if side not in askers:
                    askers[side] = self.asker(side)
                    stack.callback(askers[side].close)
                return askers[side].ask(problem)

            return list(find_ways(self.suites, self.duos, wanted, ask, winner))

    def asker(self, side: Side) -> Asker:
        """Who asks `side` what it offers."""
        self.watcher.step(f"asking {side.spec}")
        return Asker(
            side,
            self.machine,
            self.protocol.threads,
            self.options.timeout,
            self.options.memory_bytes,
        )

    def compare(self, ways: Sequence[Way]) -> None:
        """Screen, confirm and judge all ways, with the control measured between them."""
        waiting: list[tuple[int, Bout]] = []
        with self.control() as control, ExitStack() as at_the_end:
            at_the_end.callback(self.finish_all, waiting)  # also what Ctrl-C left waiting
            for position, way in enumerate(ways):
                self.watcher.layer(way.suite.name, way.layer.name, position, len(ways))
                if self.options.resume and self.resume(way):
                    continue
                if control is not None:
                    control.take(_due(position, len(ways)) - len(control.values))
                bout = self.screen(way, len(ways) - position)
                if bout is None:
                    continue
                self.suspects.found[position] = bout.found
                if self.could_be_flagged_late(bout):
                    waiting.append((position, bout))
                    self.keep(bout, self.provisional(bout))
                else:
                    self.finish(bout)
            while waiting:
                self.finish_late(*waiting[0], ways)
                waiting.pop(0)
            if control is not None and self.outcome.comparisons:
                self.judge_control(control)

    def verify(self, heads: Sequence[Alone]) -> None:
        """Verify each head that has no base, whatever time is left: a wrong one is never green."""
        right = 0
        for position, one in enumerate(heads):
            self.watcher.layer(one.suite.name, one.layer.name, position, len(heads))
            right += self.verify_head(one)
        if right:
            self.outcome.notes.append(
                f"where there is no base, head was verified alone: {right} of {len(heads)} right"
            )

    def verify_head(self, one: Alone) -> bool:
        """Whether a head without a base is right."""
        self.watcher.step(f"{one.label}: no base, verifying head")
        race = self.new_race(one.layer.name, one.layer.problem, (one.head,), one.duo.head.spec)
        with self.operands(one.layer.problem) as race.cases:
            trial = verified_alone(race)
        return self.accepted(one, "head", replace(trial, contender=one.duo.head.shown(one.head)))

    def accepted(self, one: Way | Alone, side: str, trial: Trial) -> bool:
        """Whether a side is right; it is kept and told of if it is not."""
        if trial.state is TrialState.COMPLETE:
            return True
        self.recorder.record(self.outcome.run, trial)
        refusal = Refusal(one.layer.name, one.label, side, trial.state, trial.reason)
        self.outcome.refusals.append(refusal)
        return False

    def resume(self, way: Way) -> bool:
        """Take over what an interrupted check decided of the same."""
        done = self.recorder.resumed(self.outcome.run, self.identity(way))
        if done is None:
            return False
        self.outcome.comparisons.append(done)
        self.outcome.resumed += 1
        return True

    def screen(self, way: Way, left: int) -> Bout | None:
        """Measure one of `left` ways until it is settled or confirmed; None if a side broke."""
        bout = Bout(way, self.duel(way, left), self.thresholds(way))
        with self.operands(way.layer.problem) as cases:
            bout.duel.race.cases = cases
            self.watcher.step(way.label)
            bout.found = screen(bout.duel.take, self.suspects.level, bout.thresholds)
            if flagged(bout.found, self.suspects.level, bout.thresholds):
                self.confirm(bout)
        return None if self.refused(bout) else bout

    def confirm(self, bout: Bout) -> None:
        """Measure what was flagged again, in new processes."""
        self.watcher.step(f"{bout.way.label}: flagged, measuring again")
        bout.duel.may_go_on = lambda: self.clock() < self.deadline
        bout.found = confirm(bout.found, bout.duel.take, bout.thresholds)

    def could_be_flagged_late(self, bout: Bout) -> bool:
        """Whether Holm's later steps, with milder levels, might flag what the first did not."""
        first, last = self.suspects.level, LAYER_LEVEL
        found, thresholds = bout.found, bout.thresholds
        return flagged(found, last, thresholds) and not flagged(found, first, thresholds)

    def finish_late(self, position: int, bout: Bout, ways: Sequence[Way]) -> None:
        """Judge what had to wait for the others; confirm it first where it is flagged now."""
        if position in set(self.suspects.late([self.thresholds(way) for way in ways])):
            bout.late = True
            with self.operands(bout.way.layer.problem) as cases:
                bout.duel.race.cases = cases
                self.confirm(bout)
            if self.refused(bout):
                return
        self.finish(bout)

    def finish_all(self, waiting: Sequence[tuple[int, Bout]]) -> None:
        """Judge what still waits as it is: nobody knows whether later steps would flag it."""
        for _, bout in waiting:
            if not bout.duel.broken:
                self.conclude(bout, self.provisional(bout))

    def finish(self, bout: Bout) -> None:
        """Judge one way and keep it."""
        comparison = self.judged(bout)
        self.keep(bout, comparison)
        self.conclude(bout, comparison)

    def judged(self, bout: Bout) -> Comparison:
        """What a way comes to; a suspicion that there was no time to look into is UNDECIDED."""
        way = bout.way
        labels = Labels(way.layer.name, way.label, way.duo.base.label, way.duo.head.label)
        one = compare(bout.found, bout.thresholds, self.suspects.level, labels, bout.duel.seconds)
        open_still = bout.unconfirmed(self.suspects.level)
        left_open = open_still and one.verdict is not GateVerdict.REGRESSED
        return replace(one, verdict=GateVerdict.UNDECIDED) if left_open else one

    def provisional(self, bout: Bout) -> Comparison:
        """What is known of a way that waits for the others: its pairs, and no verdict."""
        return replace(self.judged(bout), verdict=GateVerdict.UNDECIDED)

    def keep(self, bout: Bout, comparison: Comparison) -> None:
        """Record a way; what was recorded of it provisionally is replaced."""
        way, duel = bout.way, bout.duel
        sides = duel.trials(way.duo.base.shown(way.base), way.duo.head.shown(way.head))
        self.recorder.compared(self.outcome.run, comparison, self.identity(way), *sides)

    def conclude(self, bout: Bout, comparison: Comparison) -> None:
        """Tell of a way in the outcome."""
        self.outcome.comparisons.append(comparison)
        self.outcome.values.append(tuple(bout.duel.values))
        if bout.unconfirmed(self.suspects.level):
            self.outcome.notes.append(
                f"{bout.way.layer.name}, {bout.way.label}: seems slower, but no time was left to "
                "confirm it"
            )

    def refused(self, bout: Bout) -> bool:
        """Whether a side was wrong or failed, which is kept instead of a comparison."""
        way = bout.way
        shown = way.duo.base.shown(way.base), way.duo.head.shown(way.head)
        base, head = bout.duel.trials(*shown)
        base_right = self.accepted(way, "base", base)
        if self.accepted(way, "head", head) and not base_right:
            # Base may have broken before head was through all of its checks.
            self.verify_head(Alone(way.suite, way.layer, way.duo, way.head, way.label))
        return bout.duel.broken

    @contextmanager
    def control(self) -> Iterator[Duel | None]:
        """The frozen kernel against itself, ready to be measured; None where it is not wanted."""
        if not self.options.control:
            yield None
            return
        contender = Contender(CONTROL, "gemm")
        duel = self.new_duel(CONTROL_LAYER, CONTROL_PROBLEM, contender, contender)
        duel.may_go_on = lambda: self.clock() < self.deadline
        with self.operands(CONTROL_PROBLEM) as cases:
            duel.race.cases = cases
            yield duel

    def judge_control(self, control: Duel) -> None:
        """Whether the frozen kernel differs from itself, in either direction; then no verdict."""
        self.watcher.step("control")
        control.take(LOOKS[0] - len(control.values))
        direction = -1 if sum(control.values) < 0 else 1
        thresholds = Thresholds()

        def take(pairs: int) -> list[float]:
            return [direction * value for value in control.take(pairs)]

        found = look_at(Screening(), [direction * value for value in control.values])
        if flagged(found, LAYER_LEVEL, thresholds):
            found = confirm(found, take, thresholds)
        self.outcome.noisy = not control.broken and confirmed(found, thresholds)
        if control.broken:
            self.outcome.control_fault = "; ".join(filter(None, (s.reason for s in control.sides)))
            self.outcome.notes.append(
                f"the control, a frozen kernel, could not be measured, so no verdict is given: "
                f"{self.outcome.control_fault.rstrip('.')}"
            )
        screened, new = control.values[: len(found.values)], control.values[len(found.values) :]
        one = compare(
            replace(found, values=tuple(screened), confirming=tuple(new)),
            thresholds,
            LAYER_LEVEL,
            Labels(CONTROL_LAYER, "control", "control", "control"),
            control.seconds,
        )
        worst = GateVerdict.REGRESSED if self.outcome.noisy else one.verdict
        worst = GateVerdict.UNDECIDED if control.broken else worst
        self.outcome.control = replace(one, verdict=worst)
        sides = control.trials(*control.race.spec.contenders)
        self.recorder.compared(self.outcome.run, self.outcome.control, "", *sides)
        if self.outcome.noisy or control.broken:
            self.recorder.withdraw(self.outcome.run)
            self.outcome.comparisons = [
                replace(each, verdict=GateVerdict.UNDECIDED) for each in self.outcome.comparisons
            ]

    def duel(self, way: Way, left: int) -> Duel:
        """Base and head of a way; it may spend its share of the time that is left."""
        spec = way.duo.base.spec
        duel = self.new_duel(way.layer.name, way.layer.problem, way.base, way.head, spec)
        now = self.clock()
        share = now + (self.deadline - now) / left

        def may_go_on() -> bool:
            first = len(duel.values) < LOOKS[0]  # less than a first look teaches nothing
            return self.clock() < (self.deadline if first else share)

        duel.may_go_on = may_go_on
        return duel

    def new_duel(
        self, layer: str, problem: Problem, base: Contender, head: Contender, spec: str = ""
    ) -> Duel:
        """Base and head on a problem, without their operands; `spec` names base."""
        return Duel(self.new_race(layer, problem, (base, head), spec))

    def new_race(
        self, layer: str, problem: Problem, contenders: tuple[Contender, ...], spec: str
    ) -> Race:
        """Contenders without their operands; `spec` is the first as named, wherever it lies."""
        protocol = check_protocol(self.protocol)
        suite = self.suites[0].name
        raced = RaceSpec(suite, layer, problem, contenders, protocol, self.machine)
        cases = Cases(problem, Path(), protocol.fill, protocol.seed)
        limits = Limits(inf, self.options.timeout, self.options.memory_bytes)
        one = contenders[0]
        rng = seeded(protocol.seed, layer, spec or one.backend, one.algorithm, one.weights)
        return Race(raced, cases, limits, rng, clock=self.clock, open_link=self.open_link)

    @contextmanager
    def operands(self, problem: Problem) -> Iterator[Cases]:
        """The operands of a problem, on disk while they are needed."""
        with tempfile.TemporaryDirectory(prefix="gemmbench-") as folder:
            yield Cases(problem, Path(folder), self.protocol.fill, self.protocol.seed)

    def thresholds(self, way: Way) -> Thresholds:
        """A layer's own thresholds, where the suite has them."""
        given, layer = self.options.thresholds, way.layer
        return Thresholds(
            given.min_effect if layer.min_effect is None else layer.min_effect,
            given.max_regression if layer.max_regression is None else layer.max_regression,
        )

    def identity(self, way: Way) -> str:
        """Twelve hex digits, equal if and only if exactly the same would be compared."""
        same = (
            way.suite.name,
            way.layer.name,
            way.layer.problem,
            way.duo.base.shown(way.base),
            way.duo.head.shown(way.head),
            way.identity,
            *((way.duo.tree,) if way.duo.tree else ()),
            check_protocol(self.protocol),
            self.machine.key(),
            self.thresholds(way),
        )
        return hashlib.sha256(repr(same).encode()).hexdigest()[:12]


def _due(position: int, ways: int) -> int:
    """Pairs of the control that should be there before way `position` of `ways` is measured."""
    return -(-LOOKS[0] * (position + 1) // (ways + 1))
