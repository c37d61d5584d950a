"""The check against scripted sides: what it compares, keeps, confirms and concludes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import isnan, log
from typing import Any

import pytest

from gemmbench.aa import SelfTest, repeat
from gemmbench.backend import Location
from gemmbench.check import Check
from gemmbench.check_outcome import CheckOptions, CheckOutcome, check_protocol, exit_code
from gemmbench.comparison import Comparison, GateVerdict
from gemmbench.control import CONTROL, CONTROL_LAYER, CONTROL_PROBLEM
from gemmbench.errors import GemmbenchError
from gemmbench.gate import (
    CONFIRMING_LOOKS,
    FAMILY_LEVEL,
    LAYER_LEVEL,
    LOOKS,
    Thresholds,
    first_level,
    screen,
)
from gemmbench.link import RequestError, WorkerLostError
from gemmbench.machine import Machine
from gemmbench.pairs import PAIR_SECONDS, Duel
from gemmbench.problem import Gemm, Linear, Problem
from gemmbench.sides import Duo, Side
from gemmbench.space import Axis, SearchSpace, space_to_data
from gemmbench.suite import Layer, Suite
from gemmbench.trial import Contender, Environment, RaceProtocol, Trial, TrialState
from gemmbench.ways import Refusal, Wanted

MACHINE = Machine("cpu", "generic", (), 2, 32768, 1048576, 0, 2**34, "Linux x86_64")
PROBLEM = Gemm(4, 5, 6)
SPEC = "made.up:Kernel"
LATE_SPREAD = 0.0258  # with a mean of 0.02 over 20 pairs: p, over all looks, is 0.008
FIRST, CONFIRMED = LOOKS[0], LOOKS[0] + CONFIRMING_LOOKS[0]


def suite(*names: str, problem: Problem = PROBLEM, **fields: Any) -> Suite:
    layers = tuple(Layer(name, problem, "s", **fields) for name in names)
    return Suite("tiny", "", "s", layers, "tiny.yaml")


class World:
    """A clock, the seconds a call takes, and what sides answer. Pairs are counted by layer."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pairs = 0
        self.slower: Callable[[int], float] = lambda pair: 1.0  # head/base in a process pair
        self.control: Callable[[int], float] = lambda pair: 1.0
        self.control_pairs = 0
        self.space: dict[str, SearchSpace | None] = {"base": None, "head": None}
        self.offers = [("gemm", "plain")]
        self.asked: list[str] = []
        self.replies: dict[str, dict[str, Any] | Exception] = {}
        self.faults: dict[tuple[str, str], Any] = {}
        self.configs: list[tuple[str, dict[str, Any]]] = []
        self.stale: dict[str, str] = {}  # objections to answers on inputs changed since, by side
        self.stop_after: int | None = None
        self.stop_clock_at: int | None = None  # pairs after which no time is left

    def clock(self) -> float:
        spent = self.stop_clock_at is not None and self.pairs >= 2 * self.stop_clock_at
        return 1e9 if spent else self.now

    def ask(self, side: Side, problem: Problem) -> dict[str, Any]:
        name = side.label
        self.asked.append(name)
        fault = self.replies.get(name, {})
        if isinstance(fault, Exception):
            raise fault
        space = self.space[name]
        data = None if space is None else space_to_data(space, 100)
        offers = [
            {"algorithm": algorithm, "weights": weights, "space": data}
            for algorithm, weights in self.offers
        ]
        reply = {"unavailable": None, "unsupported": None, "library": "", "offers": offers}
        return {**reply, "source_hash": f"{name}-hash", **fault}

    def open(self, location: Location, environment: Environment) -> "Worker":
        return Worker(self, location.attribute, dict(environment.variables).get("SIDE", ""))


class Worker:
    """Each pair opens two; what it answers depends on its side and the number of its pair."""

    protocol = 2

    def __init__(self, world: World, attribute: str, side: str) -> None:
        self.world, self.side = world, side
        self.is_control = attribute == "Control"
        if self.is_control:
            self.pair = world.control_pairs // 2
            world.control_pairs += 1
        else:
            self.pair = world.pairs // 2
            world.pairs += 1
        if world.stop_after is not None and world.pairs > 2 * world.stop_after:
            raise KeyboardInterrupt

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        fault = self.world.faults.get((self.side, method))
        if isinstance(fault, Exception):
            raise fault
        if method == "describe":
            return {"unavailable": None, "unsupported": None, "library": "", "source_hash": "0"}
        if method == "prepare" and not self.is_control:
            self.world.configs.append((self.side, params["config"]))
        if method == "verify":
            if params["how"] == "stale":
                fault = fault or self.world.stale.get(self.side)
            return {"max_error": 0.0, "bound": 1.0, "wrong": fault}
        if method == "time":
            return {"seconds": self.time(params["loops"])}
        if method == "time_slice":
            return {"seconds": [self.time(params["calls"]) for _ in range(params["repeats"])]}
        return {}

    def time(self, calls: int) -> float:
        seconds = 0.001 * calls
        if self.side == "head":
            change = self.world.control if self.is_control else self.world.slower
            seconds *= change(self.pair)
        self.world.now += seconds
        return seconds

    def pin(self, core: int) -> None:
        pass

    def close(self) -> None:
        pass


class Ledger:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.kept: list[tuple[Comparison, str, Trial, Trial]] = []
        self.refused: list[Trial] = []
        self.withdrawn: list[int] = []
        self.winners: dict[str, dict[str, Any]] = {}
        self.earlier: dict[str, Comparison] = {}

    def begin(
        self, command: str, machine: Machine, protocol: RaceProtocol, seed: int, software: object
    ) -> int:
        self.protocol = protocol
        return 1

    def end(self, run: int, exit_code: int) -> None:
        pass

    def record(self, run: int, trial: Trial) -> None:
        self.refused.append(trial)

    def compared(
        self, run: int, comparison: Comparison, identity: str, base: Trial, head: Trial
    ) -> None:
        self.kept.append((comparison, identity, base, head))

    def resumed(self, run: int, identity: str) -> Comparison | None:
        return self.earlier.get(identity)

    def withdraw(self, run: int) -> None:
        self.withdrawn.append(run)

    def best_config(
        self, machine: Machine, protocol: RaceProtocol, problem: Problem, contender: Contender,
        source_hash: str,
    ) -> dict[str, Any] | None:  # fmt: skip
        assert protocol.method == RaceProtocol().method
        return self.winners.get(source_hash)


class Silent:
    def layer(self, suite: str, name: str, position: int, total: int) -> None:
        pass

    def step(self, text: str) -> None:
        pass


def side(name: str, spec: str = SPEC) -> Side:
    return Side(name, spec, spec, Environment("", (("SIDE", name),)))


DUO = Duo(side("base"), side("head"))


def check(
    world: World, ledger: Ledger | None = None, suites: Suite | None = None, duo: Duo = DUO,
    **options: Any,
) -> CheckOutcome:  # fmt: skip
    return Check(
        [suites or suite("a")],
        [duo],
        CheckOptions(**options),
        RaceProtocol(),
        MACHINE,
        ledger or Ledger(),
        Silent(),
        clock=world.clock,
        open_link=world.open,
        ask=world.ask,
    ).run("gemmbench check")


def code(outcome: CheckOutcome, strict: bool = False, require_baseline: bool = False) -> int:
    return exit_code(outcome, strict=strict, require_baseline=require_baseline)


def test_identical_code_is_ok_after_the_first_look() -> None:
    outcome = check(World())
    (one,) = outcome.comparisons
    assert (one.verdict, one.pairs, one.estimate) == (GateVerdict.OK, FIRST, 0.0)
    assert (outcome.verdict(), code(outcome, strict=True, require_baseline=True)) == ("OK", 0)
    assert outcome.control is not None
    assert outcome.control.pairs == FIRST


def test_a_slower_head_is_a_regression_once_confirmed() -> None:
    world = World()
    world.slower = lambda pair: 1.05
    outcome = check(world)
    (one,) = outcome.comparisons
    assert (one.verdict, one.pairs) == (GateVerdict.REGRESSED, CONFIRMED)
    assert one.estimate == pytest.approx(0.05)
    assert one.seconds_measured == pytest.approx(PAIR_SECONDS * CONFIRMED, rel=0.05)
    assert code(outcome) == 1


def test_a_flag_that_new_processes_do_not_confirm_is_no_regression() -> None:
    world = World()
    world.slower = lambda pair: 1.03 if pair < FIRST else 1.0 + 0.001 * (pair % 2)
    outcome = check(world, control=False)
    assert outcome.comparisons[0].pairs == FIRST + CONFIRMING_LOOKS[-1]
    assert outcome.comparisons[0].verdict is GateVerdict.OK
    assert outcome.notes == [], "there was time enough to confirm it"
    assert code(outcome) == 0


def test_a_flag_is_confirmed_by_the_layers_own_least_effect() -> None:
    world = World()  # certain from the start, and beyond 3 % in the later of the new pairs only
    world.slower = lambda pair: 1.05 if pair < FIRST or pair >= CONFIRMED else 1.02
    (one,) = check(world, suites=suite("a", min_effect=0.03), control=False).comparisons
    assert (one.verdict, one.pairs) == (GateVerdict.REGRESSED, FIRST + CONFIRMING_LOOKS[-1])


@pytest.mark.parametrize("new", [1, 4, 9])
def test_a_confirmation_that_time_cuts_short_leaves_it_undecided_and_says_so(new: int) -> None:
    world = World()
    first, later = 1.03, (1.0 if new > 5 else 1.03)
    world.slower = lambda pair: first if pair < FIRST else later
    world.stop_clock_at = FIRST + new
    outcome = check(world, control=False, time_budget=1000.0)
    assert outcome.comparisons[0].verdict is GateVerdict.UNDECIDED
    assert any("no time was left" in note for note in outcome.notes)


def test_a_confirmation_that_a_first_look_completes_needs_no_more_time() -> None:
    world = World()
    world.slower = lambda pair: 1.03
    world.stop_clock_at = CONFIRMED
    outcome = check(world, control=False, time_budget=1000.0)
    assert outcome.comparisons[0].verdict is GateVerdict.REGRESSED
    assert not any("no time was left" in note for note in outcome.notes)


def test_a_flag_that_the_first_new_pairs_do_not_confirm_may_be_confirmed_by_more() -> None:
    world = World()
    world.slower = lambda pair: 1.13 if pair == FIRST else 1.03 + 0.001 * (pair % 2)
    (one,) = check(world, control=False).comparisons
    assert (one.verdict, one.pairs) == (GateVerdict.REGRESSED, FIRST + CONFIRMING_LOOKS[-1])


def test_a_faster_head_is_an_improvement() -> None:
    world = World()
    world.slower = lambda pair: 0.9
    outcome = check(world)
    assert outcome.comparisons[0].verdict is GateVerdict.IMPROVED
    assert (outcome.verdict(), code(outcome, strict=True)) == ("IMPROVED", 0)


def test_what_varies_too_much_is_undecided_which_matters_when_strict() -> None:
    world = World()
    world.slower = lambda pair: 1.3 if pair % 2 else 0.8
    outcome = check(world, control=False)
    assert outcome.comparisons[0].verdict is GateVerdict.UNDECIDED
    assert outcome.comparisons[0].pairs == LOOKS[-1]
    assert (code(outcome), code(outcome, strict=True)) == (0, 3)


def test_a_layer_may_have_thresholds_of_its_own() -> None:
    world = World()
    world.slower = lambda pair: 1.05
    outcome = check(world, suites=suite("a", min_effect=0.08, max_regression=0.2))
    assert outcome.comparisons[0].verdict is GateVerdict.OK
    loose = check(World(), thresholds=Thresholds(0.08, 0.2))
    assert loose.comparisons[0].smallest_visible == pytest.approx(0.08)


@contextmanager
def sided_control(self: Check) -> Iterator[Duel]:
    """The control with sides that the scripted workers can tell from one another."""
    base, head = (
        Contender(CONTROL, "gemm", environment=Environment("", (("SIDE", name),)))
        for name in ("base", "head")
    )
    duel = self.new_duel(CONTROL_LAYER, CONTROL_PROBLEM, base, head)
    with self.operands(CONTROL_PROBLEM) as duel.race.cases:
        yield duel


@pytest.mark.parametrize("change", [1.04, 0.96])
def test_no_verdict_is_given_where_the_control_differs_from_itself(
    change: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Check, "control", sided_control)
    world, ledger = World(), Ledger()
    world.slower = lambda pair: 1.05
    world.control = lambda pair: change
    outcome = check(world, ledger)
    assert ledger.withdrawn == [1]
    assert [one.verdict for one in outcome.comparisons] == [GateVerdict.UNDECIDED]
    assert (outcome.verdict(), code(outcome), code(outcome, strict=True)) == ("TOO_NOISY", 0, 3)


def test_a_control_that_ten_new_pairs_confirm_where_five_do_not_is_an_objection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Check, "control", sided_control)
    world = World()
    world.control = lambda pair: 1.25 if pair == FIRST else 1.04 + 0.001 * (pair % 2)
    outcome = check(world)
    assert outcome.noisy
    assert outcome.control is not None
    assert outcome.control.pairs == FIRST + CONFIRMING_LOOKS[-1]


def test_a_control_that_is_flagged_once_but_not_again_is_no_objection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Check, "control", sided_control)
    world = World()
    world.control = lambda pair: 1.04 if pair < FIRST else 1.0
    outcome = check(world)
    assert (outcome.noisy, outcome.verdict()) == (False, "OK")


def test_a_wrong_head_is_five_and_never_timed() -> None:
    world, ledger = World(), Ledger()
    world.slower = lambda pair: 1.05
    world.faults["head", "verify"] = "is off by 1"
    outcome = check(world, ledger)
    assert (outcome.comparisons, outcome.verdict(), code(outcome)) == ([], "WRONG", 5)
    assert ledger.refused[0].state is TrialState.WRONG
    assert not ledger.refused[0].measurement


def test_a_head_that_crashes_is_six() -> None:
    world, ledger = World(), Ledger()
    world.faults["head", "time_slice"] = WorkerLostError("killed by SIGSEGV")
    outcome = check(world, ledger)
    assert (outcome.verdict(), code(outcome)) == ("FAILED", 6)
    assert outcome.refusals[0].reason == "killed by SIGSEGV"


def test_a_head_that_cannot_be_asked_is_six_too() -> None:
    world = World()
    world.replies["head"] = RequestError("SyntaxError")
    assert code(check(world)) == 6


def test_a_base_that_is_wrong_is_no_baseline() -> None:
    world = World()
    world.faults["base", "verify"] = "is off by 1"
    outcome = check(world)
    assert (outcome.verdict(), code(outcome)) == ("NO_BASELINE", 4)
    assert code(outcome, require_baseline=True) == 4


def test_a_check_without_time_for_one_pair_is_not_green() -> None:
    world, ticks = World(), iter([0.0])
    world.clock = lambda: next(ticks, 1e9)  # type: ignore[method-assign]
    outcome = check(world, time_budget=1.0)
    assert [one.pairs for one in outcome.comparisons] == [0]
    assert code(outcome) == 4


def test_a_first_run_without_a_base_succeeds_and_says_so() -> None:
    outcome = check(World(), duo=replace(DUO, missing="k.py does not exist at main"))
    (refusal,) = outcome.refusals
    assert refusal == Refusal("a", SPEC, "base", TrialState.SKIPPED, "k.py does not exist at main")
    assert (outcome.verdict(), code(outcome)) == ("NO_BASELINE", 0)
    assert code(outcome, require_baseline=True) == 4


@pytest.mark.parametrize(
    ("method", "fault", "verdict", "exit_"),
    [
        ("verify", "is off by 1", "WRONG", 5),
        ("prepare", WorkerLostError("killed by SIGSEGV"), "FAILED", 6),
        ("time", WorkerLostError("killed by SIGSEGV"), "FAILED", 6),
    ],
)
def test_a_head_without_a_base_is_verified_all_the_same(
    method: str, fault: object, verdict: str, exit_: int
) -> None:
    world, ledger = World(), Ledger()
    world.faults["head", method] = fault
    missing = replace(DUO, missing="k.py does not exist at main")
    outcome = check(world, ledger, duo=missing, time_budget=0.001)
    assert (outcome.verdict(), code(outcome)) == (verdict, exit_)
    assert [one.side for one in outcome.refusals] == ["base", "head"]
    (kept,) = ledger.refused
    assert (str(kept.state), kept.contender.backend, kept.purpose) == (verdict, SPEC, "check")


def test_each_algorithm_of_a_head_without_a_base_is_verified() -> None:
    world = World()
    world.offers = [("gemm", "plain"), ("winograd", "plain")]
    outcome = check(world, duo=replace(DUO, missing="none"))
    assert [side for side, _ in world.configs] == ["head", "head"]
    assert "head was verified alone: 2 of 2 right" in outcome.notes[0]
    assert code(outcome) == 0


def test_a_head_without_a_base_that_offers_nothing_asked_for_is_not_green() -> None:
    world = World()
    outcome = check(world, duo=replace(DUO, missing="none"), wanted=Wanted(weights=("prepared",)))
    assert code(outcome) == 4


def test_a_head_that_only_changed_inputs_tell_wrong_is_wrong_though_base_broke_before() -> None:
    world = World()
    world.faults["base", "verify"] = "is off by 1"
    world.stale["head"] = "is off by 2"
    outcome = check(world)
    assert (outcome.verdict(), code(outcome)) == ("WRONG", 5)


def test_a_regression_goes_before_a_missing_base() -> None:
    world = World()
    world.slower = lambda pair: 1.1
    outcome = check(world)
    outcome.refusals.append(Refusal("b", SPEC, "base", TrialState.SKIPPED, "none"))
    assert code(outcome, strict=True, require_baseline=True) == 1


def test_an_unavailable_backend_is_bad_input() -> None:
    world = World()
    world.replies["base"] = {"unavailable": "no CUDA device"}
    with pytest.raises(GemmbenchError, match="on the side of base: no CUDA device"):
        check(world)


def test_an_unsupported_layer_is_told_and_matters_when_strict() -> None:
    world = World()
    world.replies["head"] = {"unsupported": "computes gemm only"}
    outcome = check(world)
    assert (code(outcome), code(outcome, strict=True)) == (4, 3), "and nothing else was compared"
    assert (outcome.comparisons, outcome.verdict()) == ([], "UNDECIDED")
    outcome.refusals.append(Refusal("b", SPEC, "base", TrialState.SKIPPED, "k.py is not there"))
    assert code(outcome) == 0, "a first run, with a layer that head does not compute"


def test_several_algorithms_are_compared_each_with_its_own() -> None:
    world = World()
    world.offers = [("im2col", "plain"), ("fft", "plain"), ("fft", "prepared")]
    linear = suite("a", problem=Linear(4, 5, 6))
    outcome = check(world, suites=linear)
    assert [one.backend for one in outcome.comparisons] == [f"{SPEC} im2col", f"{SPEC} fft"]
    only = check(world, suites=linear, wanted=Wanted(("fft",), ("prepared",)))
    assert [one.backend for one in only.comparisons] == [SPEC]


def test_an_algorithm_that_neither_side_has_is_bad_input() -> None:
    world = World()
    world.offers = [("im2col", "plain"), ("fft", "plain")]
    with pytest.raises(GemmbenchError, match=r"neither side offers 'qr' .* from fft, im2col"):
        check(world, wanted=Wanted(("fft", "qr")))


def tiles(default: int, *values: int) -> SearchSpace:
    return SearchSpace((Axis("mr", values),), {"mr": default})


def run_tiles(world: World) -> set[tuple[str, int]]:
    return {(name, config["mr"]) for name, config in world.configs}


def test_both_sides_run_bases_default_and_a_changed_one_is_an_event() -> None:
    world = World()
    world.space = {"base": tiles(4, 4, 8), "head": tiles(8, 4, 8)}
    outcome = check(world)
    assert run_tiles(world) == {("base", 4), ("head", 4)}
    (event,) = outcome.notes
    assert "the default tiles changed from mr=4 to mr=8" in event


def test_both_sides_run_bases_stored_winner() -> None:
    world, ledger = World(), Ledger()
    world.space = {"base": tiles(4, 4, 8, 16), "head": tiles(4, 4, 8, 16)}
    ledger.winners = {"base-hash": {"mr": 8}, "head-hash": {"mr": 16}}
    outcome = check(world, ledger)
    assert run_tiles(world) == {("base", 8), ("head", 8)}
    assert "the best tiles changed from mr=8 to mr=16" in outcome.notes[0]
    assert all(trial.contender.tuned for trial in ledger.kept[0][2:])


def test_a_head_that_lost_bases_tiles_runs_its_own_and_that_is_told() -> None:
    world = World()
    world.space = {"base": tiles(4, 4, 8), "head": tiles(8, 8, 16)}
    outcome = check(world)
    assert run_tiles(world) == {("base", 4), ("head", 8)}
    assert any("head cannot run base's tiles mr=4" in note for note in outcome.notes)


def test_two_backends_each_run_their_own_default() -> None:
    world = World()
    world.space = {"base": tiles(4, 4, 8), "head": tiles(8, 4, 8)}
    outcome = check(world, duo=Duo(side("base"), side("head", "made.up:Other")))
    assert run_tiles(world) == {("base", 4), ("head", 8)}
    assert outcome.notes == []
    assert outcome.comparisons[0].backend == "made.up:Other"


def test_every_layer_is_kept_with_its_samples_when_it_is_done() -> None:
    world, ledger = World(), Ledger()
    world.stop_after = FIRST
    outcome = check(world, ledger, suite("a", "b"), control=False)
    assert outcome.interrupted
    assert code(outcome) == 130
    ((comparison, _, base, head),) = ledger.kept
    assert comparison.layer == "a"
    assert base.measurement.processes() == head.measurement.processes() == list(range(FIRST))
    assert ledger.protocol == check_protocol(RaceProtocol())


def test_a_resumed_check_measures_only_what_is_not_decided() -> None:
    world, ledger = World(), Ledger()
    layers = suite("a", "b")
    check(world, ledger, layers, control=False)
    ledger.earlier = {ledger.kept[0][1]: ledger.kept[0][0]}
    again = World()
    outcome = check(again, ledger, layers, control=False, resume=True)
    assert [one.layer for one in outcome.comparisons] == ["a", "b"]
    assert (outcome.resumed, again.pairs) == (1, 2 * FIRST)


def test_what_was_compared_is_identified_by_sources_thresholds_and_protocol() -> None:
    ledger = Ledger()
    for options in ({}, {"thresholds": Thresholds(0.02, 0.05)}):
        check(World(), ledger, control=False, **options)
    changed = World()
    changed.replies["head"] = {"source_hash": "other"}
    check(changed, ledger, control=False)
    check(World(), ledger, control=False)
    identities = [identity for _, identity, _, _ in ledger.kept]
    assert len(set(identities)) == 3
    assert identities[0] == identities[3]


def test_a_time_budget_leaves_open_what_it_has_no_time_for() -> None:
    world = World()
    outcome = check(world, suites=suite("a", "b"), time_budget=5 * PAIR_SECONDS, control=False)
    first, second = outcome.comparisons
    assert 1 < first.pairs < FIRST
    assert (second.pairs, second.verdict) == (0, GateVerdict.UNDECIDED)
    assert isnan(second.estimate)


def test_each_layer_may_spend_its_share_of_the_budget() -> None:
    world = World()
    world.slower = lambda pair: 1.3 if pair % 2 else 0.8
    outcome = check(world, suites=suite("a", "b"), time_budget=33 * PAIR_SECONDS, control=False)
    assert [FIRST <= one.pairs < LOOKS[-1] for one in outcome.comparisons] == [True, True]


TEN = [f"l{i}" for i in range(10)]


def late_world() -> World:
    """Nine layers that are plainly slower, and one whose p only Holm's last step flags."""
    world = World()

    def slower(pair: int) -> float:
        at = pair - 9 * CONFIRMED
        if at < 0:
            return 1.2
        return 1.0 + (0.02 + LATE_SPREAD * (-1) ** at if at < LOOKS[-1] else 0.02)

    world.slower = slower
    return world


def test_the_late_layer_is_flagged_by_the_last_step_alone() -> None:
    world = late_world()
    values = [log(world.slower(9 * CONFIRMED + at)) for at in range(LOOKS[-1])]
    found = screen(lambda n: [values.pop(0) for _ in range(n)], first_level(10), Thresholds())
    assert FAMILY_LEVEL / 10 < found.p_slower < LAYER_LEVEL


def test_a_layer_that_only_holms_later_steps_flag_is_confirmed_at_the_end() -> None:
    outcome = check(late_world(), suites=suite(*TEN), control=False)
    seen = {one.layer: one for one in outcome.comparisons}
    assert all(seen[name].verdict is GateVerdict.REGRESSED for name in TEN)
    assert seen["l9"].pairs == LOOKS[-1] + CONFIRMING_LOOKS[0]


def test_what_waits_for_holms_later_steps_is_kept_when_it_is_interrupted() -> None:
    world, ledger = late_world(), Ledger()
    world.stop_after = 9 * CONFIRMED + LOOKS[-1] + 1  # while l9 is confirmed
    outcome = check(world, ledger, suite(*TEN), control=False)
    assert outcome.interrupted
    for last in (outcome.comparisons[-1], ledger.kept[-1][0]):
        assert (last.layer, last.verdict) == ("l9", GateVerdict.UNDECIDED)
        assert last.pairs == LOOKS[-1]
    assert len(outcome.comparisons) == len(outcome.values) == 10


def test_a_late_flag_without_time_to_confirm_is_undecided() -> None:
    world = late_world()
    world.stop_clock_at = 9 * CONFIRMED + LOOKS[-1]
    outcome = check(world, suites=suite(*TEN), control=False, time_budget=1000.0)
    last = outcome.comparisons[-1]
    assert (last.layer, last.verdict, last.pairs) == ("l9", GateVerdict.UNDECIDED, LOOKS[-1])
    assert "no time was left to confirm it" in outcome.notes[-1]


def test_a_flag_without_time_to_confirm_is_undecided_though_it_would_pass() -> None:
    world = World()
    world.slower = lambda pair: 1.02
    world.stop_clock_at = FIRST
    outcome = check(world, control=False, time_budget=1000.0)
    (one,) = outcome.comparisons
    assert (one.verdict, one.pairs) == (GateVerdict.UNDECIDED, FIRST)
    assert one.high < 0.05
    assert (code(outcome), code(outcome, strict=True)) == (0, 3)
    assert "no time was left to confirm it" in outcome.notes[0]


@pytest.mark.parametrize("extra", [1, CONFIRMING_LOOKS[0] + 1])
def test_a_flag_without_time_for_all_confirming_pairs_is_undecided(extra: int) -> None:
    world = World()
    world.slower = lambda pair: 1.02 if pair < FIRST else 1.02 + 0.03 * (-1) ** pair
    world.stop_clock_at = FIRST + extra
    outcome = check(world, control=False, time_budget=1000.0)
    (one,) = outcome.comparisons
    assert (one.verdict, one.pairs) == (GateVerdict.UNDECIDED, FIRST + extra)
    assert "no time was left to confirm it" in outcome.notes[0]


def test_the_time_budget_bounds_the_control_too() -> None:
    world = World()
    outcome = check(world, time_budget=0.001)
    assert world.control_pairs <= 2
    assert outcome.control is None or outcome.control.pairs <= 1


def test_a_control_that_fails_is_told_and_no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Check, "control", sided_control)
    world, ledger = World(), Ledger()
    opened = world.open

    def dies(method: str, **params: Any) -> dict[str, Any]:
        raise WorkerLostError("killed by SIGSEGV")

    def broken(location: Location, environment: Environment) -> Worker:
        worker = opened(location, environment)
        if worker.is_control:
            monkeypatch.setattr(worker, "ask", dies)
        return worker

    monkeypatch.setattr(world, "open", broken)
    outcome = check(world, ledger)
    assert (outcome.noisy, outcome.verdict(), ledger.withdrawn) == (False, "UNDECIDED", [1])
    assert any("could not be measured" in note and "SIGSEGV" in note for note in outcome.notes)


def test_the_seed_does_not_depend_on_where_base_lies() -> None:
    drawn = []
    for folder in ("one", "two"):
        world, ledger = World(), Ledger()
        base = replace(DUO.base, located=f"{folder}.kernel:Kernel")
        gate = Check(
            [suite("a")], [replace(DUO, base=base)], CheckOptions(), RaceProtocol(), MACHINE,
            ledger, Silent(), clock=lambda w=world: w.now, open_link=world.open, ask=world.ask,
        )  # fmt: skip
        (way,) = gate.find()
        assert not isinstance(way, Refusal)
        drawn.append(gate.duel(way, 1).race.rng.random())
    assert drawn[0] == drawn[1]


def test_another_working_tree_is_another_check() -> None:
    ledger = Ledger()
    for tree in ("", "one", "two"):
        check(World(), ledger, control=False, duo=replace(DUO, tree=tree))
    assert len({identity for _, identity, _, _ in ledger.kept}) == 3


def test_a_base_that_imports_what_is_not_its_own_is_no_baseline() -> None:
    duo = replace(DUO, base=replace(DUO.base, folder="/base/tree"), tree="abc")
    world = World()
    world.replies["base"] = {"file": "/head/made/up.py"}
    outcome = check(world, duo=duo)
    (refusal,) = outcome.refusals
    assert (refusal.side, outcome.verdict()) == ("base", "NO_BASELINE")
    assert "what is imported is /head/made/up.py" in refusal.reason
    world = World()
    world.replies["base"] = {"file": "/base/tree/made/up.py"}
    assert check(world, duo=duo).notes == []
    old = check(World(), duo=duo)
    assert "base does not say which file it imported" in old.notes[0]


def test_the_same_source_on_both_sides_of_two_revisions_is_told_once() -> None:
    world = World()
    world.replies = {name: {"source_hash": "same"} for name in ("base", "head")}
    assert check(world).notes == []
    outcome = check(world, suites=suite("a", "b"), duo=replace(DUO, tree="abc"))
    assert len(outcome.notes) == 1
    assert "is the same on both sides" in outcome.notes[0]


def test_a_self_test_counts_alarms_coverage_and_what_it_would_see() -> None:
    world = World()
    world.slower = lambda pair: 1.0 + 0.004 * (pair % 2)
    worse = World()
    worse.slower = lambda pair: 1.05
    worlds = [world, worse]
    test = repeat(lambda number: check(worlds[number], control=False), 2, lambda: True)
    assert (len(test.comparisons()), test.false_alarms(), test.covered()) == (2, 1, 1)
    assert (test.checks_with_alarm(), test.verdict()) == (1, "TOO_NOISY")
    (one,) = test.visible(Thresholds())
    assert list(one.by_budget.values()) == sorted(one.by_budget.values(), reverse=True)


def test_a_self_test_ends_when_time_is_up_or_it_is_interrupted() -> None:
    assert len(repeat(lambda number: check(World()), 5, lambda: False).outcomes) == 1
    stopped = repeat(lambda number: CheckOutcome(1, interrupted=True), 5, lambda: True)
    assert len(stopped.outcomes) == 1
    assert SelfTest().verdict() == "UNDECIDED"


def test_a_self_test_that_compared_nothing_is_not_green() -> None:
    from gemmbench.cli.aa import self_test_code

    nothing, fine = SelfTest([CheckOutcome(1)]), SelfTest([check(World())])
    assert [self_test_code(nothing, strict=strict) for strict in (False, True)] == [4, 3]
    assert self_test_code(fine, strict=True) == 0
