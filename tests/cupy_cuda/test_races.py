"""Races and searches of the CUDA backends in worker processes, on the stand-in."""

import os
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gemmbench.machine import detect_machine
from gemmbench.problem import Gemm
from gemmbench.race import Limits, Race, RaceSpec, run_race
from gemmbench.reference import Cases
from gemmbench.trial import Contender, RaceProtocol, Trial, TrialState
from gemmbench_backends.cupy_cuda.architecture import ARCHITECTURES
from gemmbench_backends.cupy_cuda.space import product_space
from gemmbench_backends.cupy_cuda.tiles import layout

pytestmark = pytest.mark.cuda
BACKENDS = Path(__file__).with_name("worker_backends.py")
PROBLEM = Gemm(8, 12, 16)
DEFAULT = dict(product_space(layout(PROBLEM, "gemm"), ARCHITECTURES["sm_90"]).default)


@pytest.fixture(autouse=True)
def own_modules_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import this package's neighbours as the tests do."""
    tests = str(BACKENDS.parents[1])
    monkeypatch.setattr(sys, "path", [tests, *[p for p in sys.path if p != tests]])


def contender(name: str, **config: Any) -> Contender:
    return Contender(f"{BACKENDS}:{name}", "gemm", "plain", config)


def race(folder: Path, *contenders: Contender, **protocol: Any) -> list[Trial]:
    chosen = RaceProtocol(processes=1, block_seconds=1e-6, **protocol)
    spec = RaceSpec("s", "l", PROBLEM, contenders, chosen, detect_machine())
    return run_race(Race(spec, Cases(PROBLEM, folder), Limits(0, 120), random.Random(0)))


@pytest.mark.parametrize("cold_bytes", [0, 4096])
def test_kernels_and_library_race_with_their_device_recorded(
    tmp_path: Path, cold_bytes: int
) -> None:
    pair = contender("kernels", **DEFAULT), contender("cublas")
    own, library = race(tmp_path, *pair, cold_bytes=cold_bytes)
    for trial in (own, library):
        assert trial.state is TrialState.COMPLETE, trial.reason
        assert trial.device["name"] == "Stand-in"
        assert trial.peak_flops == 2 * 128 * 4 * 1e9
        assert len(trial.measurement.samples) >= 1
    assert "NVRTC" in own.library
    assert library.library.startswith("cuBLAS")


def test_a_poisoned_context_costs_the_config_that_poisoned_it(tmp_path: Path) -> None:
    bad = {**DEFAULT, "bk": 8}
    trials = race(
        tmp_path, contender("Poisoning", **DEFAULT), contender("Poisoning", **bad),
        contender("Poisoning", **{**DEFAULT, "bk": 32}),
    )  # fmt: skip
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE, TrialState.FAILED, TrialState.COMPLETE,
    ]  # fmt: skip
    assert "cudaErrorIllegalAddress" in trials[1].reason


def test_backends_that_call_themselves_the_same_are_told_apart(tmp_path: Path) -> None:
    pair = contender("kernels", **DEFAULT), contender("Namesake", **DEFAULT)
    own, other = race(tmp_path, *pair)
    assert (own.state, other.state) == (TrialState.COMPLETE, TrialState.WRONG), own.reason
    assert not own.reason


def test_the_process_of_a_device_is_not_stopped(tmp_path: Path) -> None:
    from gemmbench.backend import locate_backend
    from gemmbench.link import Link, location_data
    from gemmbench.machine import machine_to_data

    location = locate_backend(f"{BACKENDS}:kernels")
    with Link(location, PROBLEM, threads=1, timeout=120) as link:
        asked = {"location": location_data(location), "threads": 1, "offers": True}
        reply = link.ask("describe", machine=machine_to_data(detect_machine()), **asked)
        assert reply["device"] == "cuda:0"
        state = Path(f"/proc/{link.pid}/stat").read_text().rpartition(")")[2].split()[0]
        assert state in "SR"
        assert len(reply["offers"]) == 1
    assert not os.path.exists(f"/proc/{link.pid}")


def test_the_winner_by_call_copies_what_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gemmbench.best(): operands are copied to the device before each call."""
    import numpy as np

    from gemmbench.api import BestKernel

    from .stand_in import State, installed

    monkeypatch.setattr("gemmbench.api.locate_backend", lambda spec: spec)
    monkeypatch.setattr("gemmbench.api.load_backend", lambda spec: _backend())
    (trial,) = race(tmp_path, contender("kernels", **DEFAULT))
    with installed(State()):
        best = BestKernel(replace(trial, threads=1))
        for fill in (1, 2):
            a, b = np.full((8, 12), fill, "float32"), np.ones((12, 16), "float32")
            np.testing.assert_array_equal(best(a, b), a @ b)


def _backend() -> Any:
    from gemmbench_backends.cupy_cuda import CupyCuda

    return CupyCuda()
