"""The tuner against a scripted worker: what wins, what is left early, what is data."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemmbench.backend import Location
from gemmbench.link import RequestError, WorkerLostError
from gemmbench.machine import Machine
from gemmbench.problem import Gemm
from gemmbench.race import Limits, Race, RaceSpec
from gemmbench.reference import Cases
from gemmbench.space import Axis, Config, Constraint, SearchSpace
from gemmbench.trial import Contender, Environment, RaceProtocol, Trial, TrialState
from gemmbench.tune.evidence import Result
from gemmbench.tune.strategy import FixedOrder
from gemmbench.tune.tuner import BLOCKS, FINAL_ROUNDS, Tuner, tuning_limits

MACHINE = Machine("cpu", "generic", (), 2, 32768, 1048576, 0, 2**34, "Linux x86_64")
PROBLEM = Gemm(4, 5, 6)
SPACE = SearchSpace(
    (Axis("mr", (1, 2, 3, 4, 5, 6)), Axis("nv", (1, 2, 3))),
    {"mr": 2, "nv": 1},
    (Constraint("registers", ("mr", "nv"), lambda mr, nv: mr * nv <= 12),),
)


class Kernels:
    """A worker whose kernels take the seconds that `pace` says; `faults` by mr and request."""

    def __init__(self) -> None:
        self.now = 0.0
        self.configs: dict[int, dict[str, Any]] = {}
        self.prepared: list[dict[str, Any]] = []
        self.faults: dict[tuple[int, str], Exception | str] = {}
        self.blocks: dict[int, int] = {}

    def pace(self, config: Config) -> float:
        return 0.01 / int(config["mr"]) / int(config["nv"])

    def open(self, location: Location, environment: Environment) -> "Kernels":
        return self

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        if method == "describe":
            return {"unavailable": None, "unsupported": None, "library": "", "source_hash": ""}
        if method == "prepare":
            self.configs[params["slot"]] = params["config"]
            self.prepared.append(params["config"])
        config = self.configs[params["slot"]]
        fault = self.faults.get((config["mr"], method))
        if isinstance(fault, Exception):
            self.now += 1.0
            raise fault
        if method == "verify":
            return {"max_error": 0.0, "bound": 0.0, "wrong": fault}
        if method == "time":
            self.blocks[config["mr"]] = self.blocks.get(config["mr"], 0) + 1
            seconds = self.pace(config) * params["loops"]
            self.now += seconds
            return {"seconds": seconds}
        return {}

    def close(self) -> None:
        pass


def make_tuner(
    tmp_path: Path,
    kernels: Kernels,
    seconds: float = 100.0,
    evaluations: int = 100,
    timeout: float = 1.0,
    stored: Sequence[Result] = (),
    target: float | None = None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> Tuner:
    race = Race(
        RaceSpec("s", "l", PROBLEM, (), RaceProtocol(), MACHINE),
        Cases(PROBLEM, tmp_path),
        Limits(seconds, timeout=timeout),
        random.Random(0),
        clock=lambda: kernels.now,
        open_link=kernels.open,
    )
    contender = Contender("made.up:K", "gemm", config=dict(SPACE.default))
    strategy = FixedOrder(SPACE, seed=None if stored else 0)
    return Tuner(race, contender, strategy, evaluations, on_trial, stored=stored, target=target)


def tune(
    tmp_path: Path,
    kernels: Kernels,
    seconds: float = 100.0,
    evaluations: int = 100,
    stored: Sequence[Result] = (),
    target: float | None = None,
) -> tuple[Config | None, list[Trial]]:
    trials: list[Trial] = []
    tuner = make_tuner(
        tmp_path,
        kernels,
        seconds,
        evaluations,
        stored=stored,
        target=target,
        on_trial=trials.append,
    )
    return tuner.run(), trials


def test_the_fastest_valid_config_wins(tmp_path: Path) -> None:
    config, trials = tune(tmp_path, Kernels())
    assert config is not None
    assert int(config["mr"]) * int(config["nv"]) == 12
    assert len(trials) == SPACE.size()


def test_every_config_is_proposed_once_and_all_are_valid(tmp_path: Path) -> None:
    _, trials = tune(tmp_path, Kernels())
    configs = [tuple(sorted(trial.contender.config.items())) for trial in trials]
    assert len(set(configs)) == len(configs)
    assert all(trial.contender.config in SPACE for trial in trials)


def test_the_default_is_measured_first(tmp_path: Path) -> None:
    config, trials = tune(tmp_path, Kernels(), evaluations=1)
    assert config is None, "one config is no search"
    assert [dict(trial.contender.config) for trial in trials] == [dict(SPACE.default)]


def test_evaluations_are_recorded_as_tuning_with_their_samples(tmp_path: Path) -> None:
    _, trials = tune(tmp_path, Kernels(), evaluations=4)
    assert {trial.purpose for trial in trials} == {"tune"}
    assert all(trial.measurement for trial in trials)


def test_a_plainly_slow_config_gets_one_block(tmp_path: Path) -> None:
    kernels = Kernels()
    kernels.pace = lambda config: 1.0 if config["mr"] == 1 else 0.01  # type: ignore[method-assign]
    _, trials = tune(tmp_path, kernels)
    slow = [len(t.measurement.samples) for t in trials if t.contender.config["mr"] == 1]
    fast = [len(t.measurement.samples) for t in trials if t.contender.config["mr"] == 3]
    assert set(slow) == {1}
    assert set(fast) == {BLOCKS}


def test_a_wrong_config_is_fast_and_never_wins(tmp_path: Path) -> None:
    kernels = Kernels()
    kernels.faults[6, "verify"] = "is off by 3"
    config, trials = tune(tmp_path, kernels)
    assert config is not None
    assert config["mr"] != 6
    wrong = [trial for trial in trials if trial.contender.config["mr"] == 6]
    assert {trial.state for trial in wrong} == {TrialState.WRONG}
    assert 6 not in kernels.blocks


def test_configs_that_crash_or_raise_are_data_and_the_search_goes_on(tmp_path: Path) -> None:
    kernels = Kernels()
    kernels.faults[5, "prepare"] = RequestError("does not compile")
    kernels.faults[6, "time"] = WorkerLostError("killed by SIGSEGV")
    config, trials = tune(tmp_path, kernels)
    assert config is not None
    assert int(config["mr"]) * int(config["nv"]) == 12
    assert len(trials) == SPACE.size()
    failed = {t.contender.config["mr"] for t in trials if t.state is TrialState.FAILED}
    assert failed == {5, 6}


def test_the_budget_ends_the_search(tmp_path: Path) -> None:
    kernels = Kernels()
    kernels.pace = lambda config: 1.0  # type: ignore[method-assign]
    _, trials = tune(tmp_path, kernels, seconds=10.0)
    assert 3 <= len(trials) <= 4


@pytest.mark.parametrize("call_seconds", [0.01, 0.3, 1.0])
def test_the_finalists_are_measured_within_the_seconds_of_the_search(
    tmp_path: Path, call_seconds: float
) -> None:
    """They stay close, so they are measured until the time is up; the last round may end late."""
    kernels, noise = Kernels(), random.Random(0)
    kernels.pace = lambda config: call_seconds * noise.uniform(0.9, 1.1)  # type: ignore[method-assign]
    config, trials = tune(tmp_path, kernels, seconds=40.0)
    assert config is not None
    assert kernels.now <= 40.0 + 3 * 1.1 * call_seconds
    assert len(trials) >= 8


def test_a_search_too_short_for_finalists_is_spent_on_the_search(tmp_path: Path) -> None:
    kernels = Kernels()
    kernels.pace = lambda config: 1.0 / int(config["mr"]) / int(config["nv"])  # type: ignore[method-assign]
    config, trials = tune(tmp_path, kernels, seconds=6.0)
    assert config is not None
    assert len(trials) >= 5


def test_nothing_wins_where_nothing_is_right(tmp_path: Path) -> None:
    kernels = Kernels()
    kernels.faults = {(mr, "verify"): "is off" for mr in range(1, 7)}
    config, trials = tune(tmp_path, kernels)
    assert config is None
    assert len(trials) == SPACE.size()


def test_a_lucky_sample_does_not_win(tmp_path: Path) -> None:
    """One config is fast while searched and slow ever after: fresh samples expose it."""
    kernels = Kernels()
    kernels.pace = lambda config: (  # type: ignore[method-assign]
        (0.001 if kernels.blocks.get(1, 0) <= 3 * BLOCKS else 0.02) if config["mr"] == 1 else 0.01
    )
    config, _ = tune(tmp_path, kernels)
    assert config is not None
    assert config["mr"] != 1


def test_random_search_is_reproducible_and_depends_on_its_seed() -> None:
    def proposals(seed: int) -> list[Config | None]:
        strategy = FixedOrder(SPACE, seed)
        return [strategy.ask() for _ in range(SPACE.size() + 1)]

    assert proposals(1) == proposals(1) != proposals(2)
    assert proposals(1)[-1] is None


def test_a_search_waits_less_long_for_a_config_that_hangs() -> None:
    limits = Limits(100.0, timeout=300.0, memory_bytes=7)
    assert tuning_limits(40.0, limits) == Limits(40.0, 20.0, 7)
    assert tuning_limits(400.0, limits) == Limits(400.0, 100.0, 7)
    assert tuning_limits(400.0, Limits(1.0, timeout=2.0)).timeout == 2.0
    assert np.isfinite(tuning_limits(0.0, limits).timeout)


def test_stored_results_count_at_todays_pace_and_are_not_measured_again(tmp_path: Path) -> None:
    """The machine is twice as slow as then; one stored config was the fastest and still is."""
    kernels = Kernels()
    stored = [(dict(config), kernels.pace(config) / 2) for config in SPACE]
    config, trials = tune(tmp_path, kernels, evaluations=3, stored=stored[3:])
    assert config is not None
    assert int(config["mr"]) * int(config["nv"]) == 12
    asked = [dict(trial.contender.config) for trial in trials]
    assert asked[0] == dict(SPACE.default)
    assert asked[1:] == [config for config, _ in stored[:3] if config != SPACE.default][:2]


def test_a_stored_failure_is_not_tried_again(tmp_path: Path) -> None:
    kernels = Kernels()
    stored = [(dict(config), None) for config in SPACE if config["mr"] == 6]
    _, trials = tune(tmp_path, kernels, stored=stored)
    assert not [trial for trial in trials if trial.contender.config["mr"] == 6]


def test_a_search_ends_when_the_target_is_reached(tmp_path: Path) -> None:
    kernels = Kernels()
    _, trials = tune(tmp_path, kernels, target=0.01 / 4)
    assert len(trials) < SPACE.size()
    assert min(trial.measurement.seconds_per_call().min() for trial in trials) <= 0.0026
    _, trials = tune(tmp_path, kernels, target=1e-9)
    assert len(trials) == SPACE.size()


def test_each_hang_shortens_the_wait_for_the_next(tmp_path: Path) -> None:
    kernels = Kernels()
    waited: list[float] = []

    def hang(config: Config) -> float:
        if int(config["mr"]) > 2:
            waited.append(tuner.race.limits.timeout)
            kernels.now += waited[-1]
            raise WorkerLostError("timed out")
        return 0.01

    kernels.pace = hang  # type: ignore[method-assign]
    tuner = make_tuner(tmp_path, kernels, seconds=1000.0, timeout=40.0)
    tuner.run()
    assert waited[:5] == pytest.approx([40.0, 20.0, 10.0, 5.0, 5.0], abs=0.1)


def test_the_wait_grows_again_while_configs_pass(tmp_path: Path) -> None:
    kernels = Kernels()
    waited: list[float] = []

    def hang(config: Config) -> float:
        if int(config["mr"]) == 6 and int(config["nv"]) == 1 + len(waited):
            waited.append(tuner.race.limits.timeout)
            kernels.now += waited[-1]
            raise WorkerLostError("timed out")
        return 2.0

    kernels.pace = hang  # type: ignore[method-assign]
    tuner = make_tuner(tmp_path, kernels, seconds=1000.0, timeout=40.0)
    tuner.strategy = FixedOrder(SearchSpace(SPACE.axes, SPACE.default), None)
    first = [{"mr": 6, "nv": 1}, *[{"mr": mr, "nv": 1} for mr in range(1, 6)]]
    tuner.visit([*first, {"mr": 6, "nv": 2}, *[{"mr": mr, "nv": 2} for mr in range(1, 6)] * 8])
    assert waited[0] == 40.0
    assert 20.0 < waited[1] < 40.0, "some of the wait was earned back"
    assert tuner.race.limits.timeout == 40.0, "and in the end all of it, but no more"


def test_a_default_that_wins_is_not_called_tuned(tmp_path: Path) -> None:
    kernels = Kernels()
    trials: list[Trial] = []
    tuner = make_tuner(tmp_path, kernels, on_trial=trials.append)
    tuner.run()
    tuned = {tuple(t.contender.config.values()): t.contender.tuned for t in trials}
    default = tuple(SPACE.default.values())
    assert tuned.pop(default) is False
    assert set(tuned.values()) == {True}


def test_stored_times_without_the_default_are_scaled_by_the_fastest_of_them(
    tmp_path: Path,
) -> None:
    kernels = Kernels()
    stored = [(dict(c), kernels.pace(c) / 2) for c in SPACE if dict(c) != SPACE.default]
    tuner = make_tuner(tmp_path, kernels, evaluations=2, stored=stored)
    tuner.run()
    known = {tuple(config.values()): seconds for config, seconds in tuner.results}
    for config, _ in stored:
        assert abs(known[tuple(config.values())] / kernels.pace(config) - 1) < 0.01  # type: ignore[operator]


def test_stored_times_that_nothing_links_to_today_are_left_out(tmp_path: Path) -> None:
    kernels = Kernels()
    kernels.faults[6, "prepare"] = RequestError("does not compile any more")
    stored = [({"mr": 6, "nv": 1}, 0.001), ({"mr": 5, "nv": 1}, 0.002), ({"mr": 4, "nv": 1}, None)]
    tuner = make_tuner(tmp_path, kernels, evaluations=2, stored=stored)
    tuner.run()
    assert {config["mr"]: seconds for config, seconds in tuner.results if config["nv"] == 1} == {
        2: tuner.results[0][1],
        6: None,
        4: None,
    }


def test_finalists_that_stay_close_are_measured_until_the_time_is_up(tmp_path: Path) -> None:
    kernels = Kernels()
    noise = random.Random(0)
    kernels.pace = lambda config: 0.01 * noise.uniform(0.9, 1.1)  # type: ignore[method-assign]
    tune(tmp_path, kernels, seconds=10_000.0)
    assert sum(kernels.blocks.values()) > SPACE.size() * BLOCKS + 5 * FINAL_ROUNDS


def test_a_default_that_was_measured_before_the_machine_was_warm_gets_another_chance(
    tmp_path: Path,
) -> None:
    kernels = Kernels()
    default = dict(SPACE.default)

    def pace(config: Config) -> float:
        own = {name: config[name] for name in default}
        if own == default:
            return 0.02 if len(kernels.prepared) == 1 else 0.0005
        return 0.01 / int(config["mr"]) / int(config["nv"])

    kernels.pace = pace  # type: ignore[method-assign]
    config, _ = tune(tmp_path, kernels, seconds=1000.0)
    assert config is not None
    assert dict(config) == default


@pytest.mark.parametrize("algorithm", ["winograd", "direct"])
@pytest.mark.parametrize("weights", ["plain", "prepared"])
def test_a_config_less_exact_than_asked_for_is_fast_and_never_wins(
    tmp_path: Path, algorithm: str, weights: str
) -> None:
    kernels = Kernels()
    kernels.pace = lambda c: 0.01 / int(c["mr"]) ** 2 / int(c["nv"])  # type: ignore[method-assign]
    ask = kernels.ask

    def with_errors(method: str, **params: Any) -> dict[str, Any]:
        reply = ask(method, **params)
        if method != "verify":
            return reply
        error = 1e-3 if kernels.configs[params["slot"]]["mr"] >= 5 else 1e-6
        return reply | {"relative_error": error, "rms_error": error}

    kernels.ask = with_errors  # type: ignore[method-assign]
    tuner = make_tuner(tmp_path, kernels)
    tuner.race.spec = replace(tuner.race.spec, protocol=RaceProtocol(max_error=1e-5))
    tuner.contender = replace(tuner.contender, algorithm=algorithm, weights=weights)
    assert tuner.run() == {"mr": 4, "nv": 3}
