"""Contenders of one device share a process; what its loss costs; what is known of the device."""

import random
from pathlib import Path
from typing import Any

import pytest

from gemmbench.backend import Location
from gemmbench.link import RequestError, WorkerLostError
from gemmbench.machine import detect_machine
from gemmbench.problem import Gemm
from gemmbench.race import Limits, Race, RaceSpec, run_race
from gemmbench.reference import Cases
from gemmbench.trial import Contender, Environment, RaceProtocol, Trial, TrialState

PROBLEM = Gemm(3, 4, 5)


class Stage:
    """Opens scripted workers and remembers what each was asked."""

    def __init__(self, devices: dict[str, str], lose: str = "", refuse: str = "") -> None:
        self.devices, self.lose, self.refuse = devices, lose, refuse
        self.workers: list[Worker] = []

    def open(self, location: Location, environment: Environment) -> "Worker":
        worker = Worker(self)
        self.workers.append(worker)
        return worker


class Worker:
    def __init__(self, stage: Stage) -> None:
        self.stage, self.log, self.closed = stage, [], False
        self.asked_when_closed = False
        self.slots: dict[int, str] = {}

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self.log.append((method, params))
        self.asked_when_closed = self.asked_when_closed or self.closed
        if method == "describe":
            name = params["location"]["attribute"]
            device = self.stage.devices.get(name, "")
            if name == self.stage.refuse and self is self.stage.workers[0]:
                raise RequestError("does not import twice")
            return {
                "unavailable": None, "unsupported": None, "library": name, "source_hash": "0",
                "name": name, "device": device, "device_peak": 5.0 if device else None,
            }  # fmt: skip
        if method == "prepare":
            backend = params.get("backend", "")
            self.slots[params["slot"]] = backend
            if self.stage.lose and backend == f"mod:{self.stage.lose}:":
                raise WorkerLostError("cudaErrorIllegalAddress")
            return {"workspace_bytes": 0, "flops": None, "copies": 1}
        if method == "verify":
            return {"max_error": 0.0, "bound": 1.0, "wrong": None}
        if method == "time":
            return {"seconds": 0.01 * params["loops"]}
        return {"state": {"sm_mhz": 1000}} if method == "device_state" else {}

    def close(self) -> None:
        self.closed = True


def run(folder: Path, stage: Stage, *names: str) -> dict[str, Trial]:
    contenders = tuple(Contender(f"mod:{name}", "gemm") for name in names)
    return dict(zip(names, race(folder, stage, contenders), strict=True))


def race(folder: Path, stage: Stage, contenders: tuple[Contender, ...]) -> list[Trial]:
    spec = RaceSpec("s", "l", PROBLEM, contenders, RaceProtocol(processes=1), detect_machine())
    made = Race(spec, Cases(PROBLEM, folder), Limits(0, 9), random.Random(0))
    made.open_link = stage.open
    return run_race(made)


def living(stage: Stage) -> list[Worker]:
    return [worker for worker in stage.workers if worker.slots]


def test_backends_of_one_device_share_the_first_ones_process(tmp_path: Path) -> None:
    stage = Stage({"A": "cuda:0", "B": "cuda:0", "C": ""})
    trials = run(tmp_path, stage, "A", "B", "C")
    assert all(trial.state is TrialState.COMPLETE for trial in trials.values())
    shared, alone = living(stage)
    assert shared.slots == {0: "mod:A:", 1: "mod:B:"}
    assert alone.slots == {2: ""}, "without a device nothing is said that older workers do not know"
    assert all(worker.closed for worker in stage.workers)


def test_backends_of_different_devices_do_not(tmp_path: Path) -> None:
    stage = Stage({"A": "cuda:0", "B": "cuda:1"})
    run(tmp_path, stage, "A", "B")
    assert [worker.slots for worker in living(stage)] == [{0: "mod:A:"}, {1: "mod:B:"}]


@pytest.mark.parametrize("lost", ["A", "B"])
def test_whoever_loses_the_shared_process_fails_alone(tmp_path: Path, lost: str) -> None:
    stage = Stage({"A": "cuda:0", "B": "cuda:0"}, lose=lost)
    trials = run(tmp_path, stage, "A", "B")
    other = "B" if lost == "A" else "A"
    assert trials[lost].state is TrialState.FAILED
    assert trials[lost].reason == "cudaErrorIllegalAddress"
    assert trials[other].state is TrialState.COMPLETE
    assert all(worker.closed for worker in stage.workers)


def test_a_backend_that_the_shared_process_refuses_ends_nobody_elses_race(tmp_path: Path) -> None:
    stage = Stage({"A": "cuda:0", "B": "cuda:0"}, refuse="B")
    contenders = tuple(
        Contender(f"mod:{name}", "gemm", "plain", {"at": i}) for i, name in enumerate("ABBA")
    )
    trials = race(tmp_path, stage, contenders)
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE, TrialState.FAILED, TrialState.FAILED, TrialState.COMPLETE,
    ]  # fmt: skip
    assert stage.workers[0].slots == {0: "mod:A:", 3: "mod:A:"}
    assert not stage.workers[0].asked_when_closed
    assert all(worker.closed for worker in stage.workers)


def test_a_device_is_held_against_its_own_peak_and_its_state_is_kept(tmp_path: Path) -> None:
    stage = Stage({"A": "cuda:0"})
    trials = run(tmp_path, stage, "A", "C")
    assert (trials["A"].peak_flops, trials["C"].peak_flops) == (5.0, None)
    assert (trials["A"].device, trials["C"].device) == ({"sm_mhz": 1000}, {})
