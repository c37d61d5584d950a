"""Process pairs against scripted workers and a clock that only moves when somebody is timed."""

import os
import random
from math import inf, log
from pathlib import Path
from typing import Any

import pytest

from gemmbench.backend import Location
from gemmbench.link import WorkerLostError
from gemmbench.machine import Machine
from gemmbench.pairs import (
    BLOCK_SECONDS,
    FEWEST_ROUNDS,
    LONG_CALL,
    PAIR_SECONDS,
    SLICE_SECONDS,
    Duel,
    slice_size,
)
from gemmbench.problem import Gemm
from gemmbench.race import Limits, Race, RaceSpec
from gemmbench.reference import Cases
from gemmbench.trial import Contender, Environment, RaceProtocol, TrialState

MACHINE = Machine("cpu", "generic", (), 2, 32768, 1048576, 0, 2**34, "Linux x86_64")
PROBLEM = Gemm(4, 5, 6)


class World:
    """Seconds a call of each side, what disturbs a block, and what was asked."""

    def __init__(self, base: float, head: float, protocol: int = 2) -> None:
        self.seconds = {"Base": base, "Head": head}
        self.protocol = protocol
        self.log: list[tuple[str, str, dict[str, Any]]] = []
        self.opened: list[str] = []
        self.closed = 0
        self.pinned: list[int] = []
        self.disturbance = [0.0]  # added to blocks, in turn
        self.faults: dict[tuple[str, str], Any] = {}

    def open(self, location: Location, environment: Environment) -> "Worker":
        self.opened.append(location.attribute)
        return Worker(self, location.attribute)


class Worker:
    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.protocol = world.protocol
        self.blocks = 0

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self.world.log.append((self.name, method, params))
        fault = self.world.faults.get((self.name, method))
        if isinstance(fault, Exception):
            raise fault
        if method == "describe":
            return {"unavailable": None, "unsupported": None, "library": "", "source_hash": "0"}
        if method == "verify":
            return {"max_error": 0.0, "bound": 1.0, "wrong": fault}
        if method == "time":
            return {"seconds": self.block(params["loops"])}
        if method == "time_slice":
            return {"seconds": [self.block(params["calls"]) for _ in range(params["repeats"])]}
        return {}

    def block(self, calls: int) -> float:
        self.blocks += 1
        disturbance = self.world.disturbance[self.blocks % len(self.world.disturbance)]
        return self.world.seconds[self.name] * calls + disturbance

    def pin(self, core: int) -> None:
        self.world.pinned.append(core)

    def close(self) -> None:
        self.world.closed += 1


def duel(world: World, folder: Path, same: bool = False, threads: int = 1) -> Duel:
    names = ("Base", "Base" if same else "Head")
    contenders = tuple(Contender(f"made.up:{name}", "gemm") for name in names)
    spec = RaceSpec("suite", "layer", PROBLEM, contenders, RaceProtocol(threads=threads), MACHINE)
    race = Race(spec, Cases(PROBLEM, folder), Limits(inf, 1.0), random.Random(0))
    race.open_link = world.open
    return Duel(race)


def test_a_pair_reads_the_ratio_of_head_to_base(tmp_path: Path) -> None:
    one = duel(World(0.001, 0.00105), tmp_path)
    assert one.take(3) == pytest.approx([log(1.05)] * 3)
    assert one.values == pytest.approx([log(1.05)] * 3)


def test_the_fastest_block_of_a_slice_counts_so_that_interruptions_do_not(tmp_path: Path) -> None:
    world = World(0.001, 0.00105)
    world.disturbance = [0.0, 0.02, 0.3]
    assert duel(world, tmp_path).take(2) == pytest.approx([log(1.05)] * 2)


def test_every_pair_has_two_fresh_processes_even_for_identical_code(tmp_path: Path) -> None:
    world = World(0.001, 0.001)
    one = duel(world, tmp_path, same=True)
    assert one.take(3) == pytest.approx([0.0] * 3)
    assert len(world.opened) == world.closed == 6


def test_sides_are_started_and_timed_in_random_order(tmp_path: Path) -> None:
    world = World(0.001, 0.001)
    duel(world, tmp_path).take(12)
    assert {world.opened[i] for i in range(0, 24, 2)} == {"Base", "Head"}
    turns = [name for name, method, _ in world.log if method == "time_slice"]
    assert {turns[i] for i in range(0, len(turns), 2)} == {"Base", "Head"}
    assert turns.count("Base") == turns.count("Head")


def test_both_sides_have_slices_of_the_same_size(tmp_path: Path) -> None:
    world = World(0.00003, 0.00009)
    duel(world, tmp_path).take(2)
    sizes = {(p["calls"], p["repeats"]) for _, method, p in world.log if method == "time_slice"}
    assert len(sizes) == 1


@pytest.mark.parametrize(("base", "head"), [(0.00003, 0.0003), (0.0003, 0.00003)])
def test_the_faster_side_has_slices_that_are_long_enough(
    tmp_path: Path, base: float, head: float
) -> None:
    world = World(base, head)
    duel(world, tmp_path).take(1)
    for name, method, params in world.log:
        if method == "time_slice":
            taken = world.seconds[name] * params["calls"] * params["repeats"]
            assert taken >= SLICE_SECONDS * 0.999


def test_a_pair_measures_for_its_time_and_counts_it(tmp_path: Path) -> None:
    one = duel(World(0.001, 0.001), tmp_path)
    one.take(1)
    assert PAIR_SECONDS <= one.seconds <= PAIR_SECONDS + 2 * SLICE_SECONDS
    assert len(one.sides[0].samples) == len(one.sides[1].samples)
    assert 20 <= len(one.sides[0].samples) <= 30, "0.15 s of slices of 3 ms on either side"


def test_long_calls_get_a_few_rounds(tmp_path: Path) -> None:
    one = duel(World(2.0, 2.0), tmp_path)
    one.take(1)
    assert len(one.sides[0].samples) == FEWEST_ROUNDS


@pytest.mark.parametrize("seconds", [1e-7, 1e-5, 1e-3, LONG_CALL * 0.99, LONG_CALL, 1.0])
def test_slices_fill_their_time_and_have_a_fastest_block(seconds: float) -> None:
    size = slice_size(seconds)
    assert size.calls * seconds >= min(BLOCK_SECONDS, seconds)
    assert size.calls * size.repeats * seconds >= SLICE_SECONDS * 0.999
    assert size.repeats >= 3 or seconds >= LONG_CALL


def test_a_worker_of_an_older_gemmbench_is_asked_for_block_after_block_on_both_sides(
    tmp_path: Path,
) -> None:
    world = World(0.001, 0.00105, protocol=1)
    world.disturbance = [0.0, 0.02, 0.3]
    assert duel(world, tmp_path).take(2) == pytest.approx([log(1.05)] * 2)
    assert "time_slice" not in {method for _, method, _ in world.log}


def test_sides_with_one_thread_share_a_core_before_they_are_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5})
    world = World(0.001, 0.001)
    duel(world, tmp_path).take(8)
    pairs = list(zip(world.pinned[::2], world.pinned[1::2], strict=True))
    assert set(pairs) == {(3, 3), (5, 5)}
    several = World(0.001, 0.001)
    duel(several, tmp_path, threads=2).take(1)
    assert several.pinned == []


def test_a_wrong_head_ends_the_duel_without_a_value(tmp_path: Path) -> None:
    world = World(0.001, 0.001)
    world.faults["Head", "verify"] = "is off by 3"
    one = duel(world, tmp_path)
    assert one.take(5) == []
    assert [side.state for side in one.sides] == [TrialState.COMPLETE, TrialState.WRONG]
    assert "time_slice" not in {method for _, method, _ in world.log}
    assert world.closed == 2


def test_a_crash_ends_the_duel_with_the_side_that_crashed(tmp_path: Path) -> None:
    world = World(0.001, 0.001)
    world.faults["Base", "time_slice"] = WorkerLostError("killed by SIGSEGV")
    one = duel(world, tmp_path)
    assert one.take(5) == []
    assert [side.state for side in one.sides] == [TrialState.FAILED, TrialState.COMPLETE]
    assert one.broken


def test_no_pair_is_begun_when_time_is_up(tmp_path: Path) -> None:
    one = duel(World(0.001, 0.001), tmp_path)
    one.may_go_on = lambda: len(one.values) < 2
    assert len(one.take(5)) == 2


def test_samples_are_kept_with_the_pair_they_come_from(tmp_path: Path) -> None:
    one = duel(World(0.001, 0.002), tmp_path)
    one.take(2)
    base, head = one.trials(Contender("b", "gemm"), Contender("h", "gemm"))
    assert (base.contender.backend, head.contender.backend) == ("b", "h")
    assert base.purpose == head.purpose == "check"
    assert base.measurement.processes() == head.measurement.processes() == [0, 1]
    assert head.measurement.seconds_per_call().tolist() == pytest.approx(
        [0.002] * len(head.measurement.samples)
    )
