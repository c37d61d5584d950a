"""The race against scripted workers and a clock that only moves when somebody is timed."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gemmbench.backend import Location
from gemmbench.link import RequestError, WorkerLostError
from gemmbench.machine import Machine
from gemmbench.measurement import Measurement, Sample
from gemmbench.problem import Gemm
from gemmbench.race import (
    Limits,
    Race,
    RaceSpec,
    Setting,
    block_loops,
    full_config,
    run_race,
    stage_repeats,
    stage_seconds,
)
from gemmbench.ranking import rank
from gemmbench.reference import Cases
from gemmbench.trial import Contender, Environment, RaceProtocol, Trial, TrialState

MACHINE = Machine("cpu", "generic", (), 2, 32768, 1048576, 0, 2**34, "Linux x86_64")
PROBLEM = Gemm(4, 5, 6)


class Stage:
    """The scripted world: seconds per call of each backend file, and what goes wrong when."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.preparation = 0.0
        self.extra: Callable[[str], float] = lambda name: 0.0
        self.opened: list[str] = []
        self.closed = 0
        self.log: list[tuple[str, str]] = []
        self.asked: list[tuple[tuple[str, str], dict[str, Any]]] = []
        self.faults: dict[tuple[str, str], Callable[[int], str | Exception | None]] = {}
        self.counts: dict[tuple[str, str], int] = {}

    def open(self, location: Location, environment: Environment) -> "ScriptedWorker":
        self.opened.append(location.attribute)
        return ScriptedWorker(self, location.attribute)


class ScriptedWorker:
    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.name = name

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        key = (self.name, method)
        self.stage.log.append(key)
        self.stage.asked.append((key, params))
        self.stage.counts[key] = self.stage.counts.get(key, 0) + 1
        fault = self.stage.faults.get(key, lambda count: None)(self.stage.counts[key])
        if isinstance(fault, Exception):
            raise fault
        if method == "describe":
            reply: dict[str, Any] = {"unavailable": None, "unsupported": None, "offers": []}
            return reply | {"library": self.name, "source_hash": "0"}
        if method == "prepare":
            self.stage.now += self.stage.preparation
            return {"workspace_bytes": 7, "flops": None, "copies": 1}
        if method == "verify":
            return {"max_error": 0.0, "bound": 1.0, "wrong": fault}
        if method == "time":
            seconds = self.stage.seconds[self.name] * params["loops"]
            seconds += self.stage.extra(self.name)
            self.stage.now += seconds
            return {"seconds": seconds}
        return {}

    def close(self) -> None:
        self.stage.closed += 1


def contender(name: str, **kwargs: Any) -> Contender:
    return Contender(f"made.up:{name}", "gemm", **kwargs)


def race(
    tmp_path: Path, stage: Stage, contenders: list[Contender], seconds: float = 100.0,
    processes: int = 3,
) -> list[Trial]:  # fmt: skip
    spec = RaceSpec(
        "suite", "layer", PROBLEM, tuple(contenders), RaceProtocol(processes=processes), MACHINE
    )
    return run_race(
        Race(
            spec,
            Cases(PROBLEM, tmp_path),
            Limits(seconds, timeout=1.0),
            random.Random(0),
            clock=lambda: stage.now,
            open_link=stage.open,
        )
    )


def test_every_contender_ends_with_a_trial_in_the_order_given(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01, "B": 0.012})
    trials = race(tmp_path, stage, [contender("A"), contender("B")])
    assert [t.contender.backend for t in trials] == ["made.up:A", "made.up:B"]
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 2
    assert [t.library for t in trials] == ["A", "B"]


def test_leading_contenders_are_measured_in_fresh_processes(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01, "B": 0.012})
    trials = race(tmp_path, stage, [contender("A"), contender("B")])
    assert [t.measurement.processes() for t in trials] == [[0, 1, 2]] * 2
    assert stage.opened == ["A", "B"] * 3
    assert stage.closed == 6


@pytest.mark.parametrize(("lead", "processes"), [(1.04, 5), (1.06, 3)])
def test_a_close_win_is_confirmed_in_more_processes(
    tmp_path: Path, lead: float, processes: int
) -> None:
    stage = Stage({"A": 0.01, "B": 0.01 * lead})
    trials = race(tmp_path, stage, [contender("A"), contender("B")])
    assert trials[0].measurement.processes() == list(range(processes))


@pytest.mark.parametrize(("seconds", "blocks"), [(0.05, 2), (0.3, 1), (0.026, 4)])
def test_a_plainly_slow_contender_leaves_after_a_long_block_or_several_that_add_up(
    tmp_path: Path, seconds: float, blocks: int
) -> None:
    stage = Stage({"A": seconds / 5, "Slow": seconds})
    trials = race(tmp_path, stage, [contender("A"), contender("Slow")])
    assert len(trials[1].measurement.samples) == blocks
    assert trials[1].state is TrialState.COMPLETE
    assert len(trials[0].measurement.samples) > 1


def test_a_contender_out_of_reach_stays_in_the_first_process(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01, "B": 0.02})
    trials = race(tmp_path, stage, [contender("A"), contender("B")])
    assert trials[1].measurement.processes() == [0]
    assert len(trials[1].measurement.samples) > 1


def test_everything_is_verified_before_and_after_timing_in_each_process(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01})
    race(tmp_path, stage, [contender("A")], processes=1)
    methods = [method for _, method in stage.log]
    first, last = methods.index("time"), len(methods) - 1 - methods[::-1].index("time")
    assert methods[:first].count("verify") == 4  # two selections, integers, uniform
    assert methods[last:].count("verify") == 2  # what was timed, and changed operands


def test_a_wrong_contender_is_never_timed(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01, "B": 0.001})
    stage.faults["B", "verify"] = lambda count: "is off by 3"
    trials = race(tmp_path, stage, [contender("A"), contender("B")])
    assert trials[1].state is TrialState.WRONG
    assert "is off by 3" in trials[1].reason
    assert ("B", "time") not in stage.log
    assert rank(trials)[0].leaders == (0,)


def test_a_contender_found_wrong_afterwards_loses_its_samples(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01, "B": 0.001})
    stage.faults["B", "verify"] = lambda count: "remembers" if count == 6 else None
    trials = race(tmp_path, stage, [contender("A"), contender("B")])
    assert trials[1].state is TrialState.WRONG
    assert not trials[1].measurement
    assert rank(trials)[0].leaders == (0,)


@pytest.mark.parametrize("method", ["describe", "prepare", "verify", "time", "stages"])
def test_a_lost_worker_costs_only_the_contender_that_lost_it(tmp_path: Path, method: str) -> None:
    stage = Stage({"A": 0.01, "B": 0.01})
    stage.faults["B", method] = lambda count: WorkerLostError("killed by SIGABRT")
    trials = race(tmp_path, stage, [contender("A"), contender("B")])
    assert trials[0].state is TrialState.COMPLETE
    assert (trials[1].state, trials[1].reason) == (TrialState.FAILED, "killed by SIGABRT")


def test_others_in_a_lost_worker_go_on_in_a_new_one(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01})
    pair = [contender("A", config={"mr": 1}), contender("A", config={"mr": 2})]
    stage.faults["A", "time"] = lambda count: WorkerLostError("gone") if count == 1 else None
    trials = race(tmp_path, stage, pair, processes=1)
    assert sorted(t.state for t in trials) == [TrialState.COMPLETE, TrialState.FAILED]
    assert stage.opened == ["A", "A"]


def test_an_exception_leaves_the_worker_alive(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01})
    pair = [contender("A", config={"mr": 1}), contender("A", config={"mr": 2})]
    stage.faults["A", "prepare"] = lambda count: RequestError("nope") if count == 1 else None
    trials = race(tmp_path, stage, pair, processes=1)
    assert [t.state for t in trials] == [TrialState.FAILED, TrialState.COMPLETE]
    assert stage.opened == ["A"]


def test_without_budget_each_contender_still_gets_one_block(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01, "B": 0.011})
    trials = race(tmp_path, stage, [contender("A"), contender("B")], seconds=0.0)
    assert [len(t.measurement.samples) for t in trials] == [1, 1]


def test_one_interrupted_block_does_not_send_a_contender_home(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01, "B": 0.012})
    hiccup = iter([0.09])
    stage.extra = lambda name: next(hiccup, 0.0) if name == "B" else 0.0
    trials = race(tmp_path, stage, [contender("A"), contender("B")])
    assert trials[1].measurement.processes() == [0, 1, 2]


def test_rounds_take_at_least_as_long_as_the_preparation_did(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01})
    stage.preparation = 0.035
    (trial,) = race(tmp_path, stage, [contender("A")], seconds=0.0)
    assert len(trial.measurement.samples) == 4


def test_blocks_are_long_enough(tmp_path: Path) -> None:
    stage = Stage({"A": 1e-5})
    (trial,) = race(tmp_path, stage, [contender("A")])
    assert all(s.seconds >= 0.8 * RaceProtocol().block_seconds for s in trial.measurement.samples)


def test_prepared_weights_are_prepared_anew_for_each_case(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01})
    spec = RaceSpec(
        "s", "l", PROBLEM, (contender("A", weights="prepared"),), RaceProtocol(processes=1), MACHINE
    )
    cases = Cases(PROBLEM, tmp_path)
    cases.changed_x = cases.uniform  # type: ignore[misc]  # a Gemm has no weights to keep
    run_race(
        Race(
            spec,
            cases,
            Limits(9, 1),
            random.Random(0),
            clock=lambda: stage.now,
            open_link=stage.open,
        )
    )
    assert stage.counts["A", "prepare"] == 4  # two selections, integers, uniform, which is timed


def timed_trial(name: str, seconds: list[float], **kwargs: Any) -> Trial:
    samples = tuple(Sample(s, 1, p, r) for p, s in enumerate(seconds) for r in range(5))
    return Trial(
        "s", "l", PROBLEM, contender(name, **kwargs), TrialState.COMPLETE,
        measurement=Measurement(samples),
    )  # fmt: skip


def test_prepared_is_ranked_only_against_prepared() -> None:
    trials = [
        timed_trial("A", [1.0, 1.0, 1.0]),
        timed_trial("A", [0.5, 0.5, 0.5], weights="prepared"),
        timed_trial("B", [0.6, 0.6, 0.6], weights="prepared"),
    ]
    assert [verdict.leaders for verdict in rank(trials)] == [(0,), (1,)]


def test_the_configs_of_one_contender_do_not_tie_with_each_other() -> None:
    trials = [
        timed_trial("A", [1.0, 1.0, 1.0], config={"mr": 1}),
        timed_trial("A", [0.999, 0.999, 0.999], config={"mr": 2}),
        timed_trial("B", [1.5, 1.5, 1.5]),
    ]
    (verdict,) = rank(trials)
    assert (verdict.kind, verdict.leaders) == ("winner", (1,))


def test_a_search_space_may_lower_the_threads_but_not_change_the_choice() -> None:
    own = contender("A", config={"threads": 1, "algorithm": "other"})
    assert full_config(own, 2) == {"threads": 1, "algorithm": "gemm", "weights": "plain"}


def test_loops_fill_a_block_without_running_away() -> None:
    protocol = RaceProtocol(block_seconds=0.002)
    assert block_loops(0.001, 1, protocol) == 2
    assert block_loops(1.0, 1, protocol) == 1
    assert block_loops(0.0, 1, protocol) == 100


def world(tmp_path: Path, stage: Stage, contenders: list[Contender], **changes: Any) -> Race:
    protocol = RaceProtocol(processes=changes.pop("processes", 3))
    spec = RaceSpec("s", "l", PROBLEM, tuple(contenders), protocol, MACHINE)
    limits = Limits(changes.pop("seconds", 100.0), timeout=1.0)
    return Race(
        spec, Cases(PROBLEM, tmp_path), limits, random.Random(changes.pop("seed", 0)),
        clock=lambda: stage.now, open_link=stage.open, **changes,
    )  # fmt: skip


def turns(stage: Stage) -> list[tuple[str, ...]]:
    timed = [name for name, method in stage.log if method == "time"]
    return [tuple(timed[i : i + 2]) for i in range(0, len(timed), 2)]


def test_both_orders_of_a_pair_occur_and_follow_the_seed(tmp_path: Path) -> None:
    orders = []
    for seed in (0, 0, 1):
        stage = Stage({"A": 0.01, "B": 0.01})
        run_race(world(tmp_path, stage, [contender("A"), contender("B")], seed=seed))
        orders.append(turns(stage))
    assert {("A", "B"), ("B", "A")} <= set(orders[0])
    assert orders[0] == orders[1] != orders[2]


class Rule:
    """A roof that works at a steady pace, until it is lost."""

    def __init__(self, lost_after: int = 10**9) -> None:
        self.blocks = 0
        self.lost_after = lost_after

    def per_second(self) -> float:
        self.blocks += 1
        if self.blocks > self.lost_after:
            raise WorkerLostError("gone")
        return 2e9


def test_the_roof_is_timed_in_every_round(tmp_path: Path) -> None:
    stage, rule = Stage({"A": 0.01}), Rule()
    (trial,) = run_race(world(tmp_path, stage, [contender("A")], roof=rule))
    assert rule.blocks == len(trial.measurement.samples)
    assert trial.peak_flops == 2e9


def test_a_race_goes_on_without_a_roof_that_is_lost(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01})
    (trial,) = run_race(world(tmp_path, stage, [contender("A")], roof=Rule(lost_after=2)))
    assert trial.state is TrialState.COMPLETE
    assert trial.peak_flops == 2e9


def test_rounds_go_on_until_the_time_is_known_precisely(tmp_path: Path) -> None:
    def blocks(noise: Callable[[str], float]) -> int:
        stage = Stage({"A": 0.01})
        stage.extra = noise
        (trial,) = run_race(world(tmp_path, stage, [contender("A")], processes=1))
        return len(trial.measurement.samples)

    wobble = random.Random(3)
    assert blocks(lambda name: 0.0) == 6
    assert blocks(lambda name: 0.005 * wobble.random()) == 40


def test_the_budget_is_shared_between_the_heats(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01, "B": 0.0101})
    wobble = random.Random(5)
    stage.extra = lambda name: 0.01 * wobble.random()
    trials = run_race(world(tmp_path, stage, [contender("A"), contender("B")], seconds=0.9))
    counts = [len(trials[0].measurement.seconds_per_call(p)) for p in (0, 1, 2)]
    assert min(counts) >= 6
    assert max(counts) <= 3 * min(counts)


def test_an_undecided_race_runs_three_heats_more_and_no_more(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01, "B": 0.01})
    stage.extra = lambda name: 0.004 * (name == "B") * (len(stage.opened) // 2 % 2)
    trials = run_race(world(tmp_path, stage, [contender("A"), contender("B")]))
    assert trials[0].measurement.processes() == list(range(6))


def test_one_process_asked_for_is_one_process_measured(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01, "B": 0.01})
    trials = run_race(world(tmp_path, stage, [contender("A"), contender("B")], processes=1))
    assert [trial.measurement.processes() for trial in trials] == [[0], [0]]


def test_a_disqualified_pacemaker_sends_nobody_home(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01, "Cheat": 0.0001})
    stage.faults["Cheat", "verify"] = lambda count: "remembers" if count == 6 else None
    trials = run_race(world(tmp_path, stage, [contender("A"), contender("Cheat")]))
    assert trials[1].state is TrialState.WRONG
    assert trials[0].measurement.processes() == [0, 1, 2]


def test_fast_prepared_weights_do_not_make_plain_ones_leave(tmp_path: Path) -> None:
    stage = Stage({"A": 0.05, "P": 0.001})
    cases = Cases(PROBLEM, tmp_path)
    cases.changed_x = cases.uniform  # type: ignore[misc]  # a Gemm has no weights to keep
    own = world(tmp_path, stage, [contender("A"), contender("P", weights="prepared")])
    own.cases = cases
    assert run_race(own)[0].measurement.processes() == [0, 1, 2]


@pytest.mark.parametrize("method", ["prepare", "time", "stages"])
def test_others_in_a_lost_worker_complete_whatever_it_was_doing(
    tmp_path: Path, method: str
) -> None:
    stage = Stage({"A": 0.01})
    pair = [contender("A", config={"mr": 1}), contender("A", config={"mr": 2})]
    stage.faults["A", method] = lambda count: WorkerLostError("gone") if count == 1 else None
    trials = run_race(world(tmp_path, stage, pair))
    assert sorted(t.state for t in trials) == [TrialState.COMPLETE, TrialState.FAILED]


def test_a_trial_is_told_as_soon_as_it_is_final(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01, "Slow": 0.3})
    told: list[tuple[str, int]] = []

    def hear(trial: Trial) -> None:
        told.append((trial.contender.backend, len(stage.opened)))

    run_race(world(tmp_path, stage, [contender("A"), contender("Slow")], on_trial=hear))
    assert told == [("made.up:Slow", 2), ("made.up:A", 4)]  # before and after the later heats


def test_an_interrupt_keeps_the_heats_that_were_verified(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01})
    told: list[Trial] = []

    def interrupt(name: str) -> float:
        if len(stage.opened) == 2 and stage.counts["A", "time"] > 8:
            raise KeyboardInterrupt
        return 0.0

    stage.extra = interrupt
    with pytest.raises(KeyboardInterrupt):
        run_race(world(tmp_path, stage, [contender("A")], on_trial=told.append))
    (trial,) = told
    assert trial.measurement.processes() == [0]


def test_an_implausible_leader_is_no_winner() -> None:
    fast = timed_trial("A", [1e-9] * 3)
    others = [replace(t, peak_flops=1e9) for t in (fast, timed_trial("B", [1.0] * 3))]
    assert rank(others)[0].kind == "undecided"
    assert rank([replace(t, peak_flops=1e15) for t in others])[0].kind == "winner"


def inexact_race(tmp_path: Path, limit: float | None) -> list[Trial]:
    stage = Stage({"A": 0.01, "B": 0.02, "C": 0.03})
    errors = {"A": 2e-5, "B": 1e-6, "C": 1e-6}

    def open_link(location: Location, environment: Environment) -> ScriptedWorker:
        worker = stage.open(location, environment)
        ask = worker.ask

        def with_errors(method: str, **params: Any) -> dict[str, Any]:
            reply = ask(method, **params)
            return reply | {"relative_error": errors[worker.name], "rms_error": 1e-7}

        worker.ask = with_errors  # type: ignore[method-assign]
        return worker

    spec = RaceSpec(
        "suite", "layer", PROBLEM, tuple(contender(name) for name in errors),
        RaceProtocol(max_error=limit), MACHINE,
    )  # fmt: skip
    limits = Limits(100.0, timeout=1.0)
    cases, rng = Cases(PROBLEM, tmp_path), random.Random(0)
    return run_race(Race(spec, cases, limits, rng, clock=lambda: stage.now, open_link=open_link))


@pytest.mark.parametrize(("limit", "winner"), [(None, 0), (1e-4, 0), (1e-5, 1)])
def test_who_is_less_exact_than_asked_for_does_not_win(
    tmp_path: Path, limit: float | None, winner: int
) -> None:
    trials = inexact_race(tmp_path, limit)
    assert [t.relative_error for t in trials] == [2e-5, 1e-6, 1e-6]
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 3
    (verdict,) = rank(trials)
    assert (verdict.kind, verdict.leaders) == ("winner", (winner,))


def test_an_unknown_error_is_not_within_a_limit() -> None:
    sample = Measurement((Sample(0.01, 1),))
    one = Trial("s", "l", PROBLEM, contender("A"), TrialState.COMPLETE, measurement=sample)
    assert rank([one])[0].leaders == (0,)
    assert rank([replace(one, error_limit=1e-3)])[0].leaders == ()


def test_a_call_is_taken_apart_an_odd_number_of_times_within_limits() -> None:
    assert stage_repeats(10.0) == 1
    assert stage_repeats(0.5) == 3
    assert stage_repeats(0.02) == 11
    assert stage_repeats(1e-6) == 101


class ColdWorker(ScriptedWorker):
    """One that is twenty times slower with operands that it was told to rotate."""

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        if method == "prepare":
            self.cold = params["cold_bytes"] > 0
            self.stage.log.append((self.name, "cold" if self.cold else "hot"))
        elif method == "time" and self.cold:
            params = {**params, "loops": 20 * params["loops"]}
        return super().ask(method, **params)


def test_settings_race_in_processes_of_their_own_and_nobody_leaves(tmp_path: Path) -> None:
    stage = Stage({"A": 0.01, "B": 0.3})
    protocol = RaceProtocol(processes=2)
    cases = Cases(PROBLEM, tmp_path)
    cold = replace(protocol, cache="cold", cold_bytes=100)
    opened: list[ColdWorker] = []

    def open_link(location: Location, environment: Environment) -> ColdWorker:
        opened.append(ColdWorker(stage, location.attribute))
        return opened[-1]

    spec = RaceSpec("s", "l", PROBLEM, (contender("A"), contender("B")), protocol, MACHINE)
    trials = run_race(Race(
        spec, cases, Limits(1000, timeout=1.0), random.Random(0), clock=lambda: stage.now,
        open_link=open_link,
        settings=(Setting("hot", cases, protocol), Setting("cold", cases, cold)),
    ))  # fmt: skip
    assert [t.contender.backend for t in trials] == ["made.up:A"] * 2 + ["made.up:B"] * 2
    medians = [t.measurement.seconds_per_call()[0] for t in trials]
    assert medians == pytest.approx([0.01, 0.2, 0.3, 6.0])
    assert all(t.measurement.processes() == [0, 1] for t in trials)
    assert len({len(t.measurement.samples) for t in trials}) == 1
    assert len(opened) == 8


def test_both_roofs_are_timed_in_every_round_and_kept_with_the_trial(tmp_path: Path) -> None:
    class Constant:
        def __init__(self, value: float) -> None:
            self.value = value

        def per_second(self) -> float:
            return self.value

    stage = Stage({"A": 0.01})
    spec = RaceSpec("s", "l", PROBLEM, (contender("A"),), RaceProtocol(processes=1), MACHINE)
    (trial,) = run_race(Race(
        spec, Cases(PROBLEM, tmp_path), Limits(1, timeout=1.0), random.Random(0),
        roof=Constant(5.0), memory=Constant(3.0), clock=lambda: stage.now, open_link=stage.open,
    ))  # fmt: skip
    assert (trial.peak_flops, trial.peak_bytes) == (5.0, 3.0)


@pytest.mark.parametrize(("seconds", "probes"), [(0.05, 9), (2.5, 1)])
def test_a_long_call_is_probed_once_since_a_request_has_its_time_out(
    tmp_path: Path, seconds: float, probes: int
) -> None:
    stage = Stage({"A": seconds})
    race(tmp_path, stage, [contender("A")], processes=1)
    assert [p["probes"] for key, p in stage.asked if key == ("A", "footprint")] == [probes]


def test_stages_are_told_at_the_pace_of_the_race() -> None:
    measured = Measurement(tuple(Sample(0.4, 2, process, 0) for process in range(3)))
    taken = {"seconds": {"im2col": 0.02, "multiply": 0.07}, "call": 0.1}
    stages = stage_seconds(taken, measured)
    assert stages == {"im2col": pytest.approx(0.04), "multiply": pytest.approx(0.14)}
    assert sum(stages.values()) == pytest.approx(0.9 * 0.2)  # as of the call that was taken apart
    assert stage_seconds({}, measured) == {}
    assert stage_seconds(taken, Measurement()) == {}
