"""What `run` decides: who enters, what is reused, what ends the run. Real workers, tiny layers."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine, detect_machine
from gemmbench.problem import Conv2d, Gemm, Problem
from gemmbench.run import run_suites
from gemmbench.run_options import SECONDS_PER_LAYER, RunOptions, budget_seconds, check_memory
from gemmbench.run_outcome import Outcome, exit_code
from gemmbench.runner import Runner
from gemmbench.sharing import share, visit_leaders
from gemmbench.software import Software
from gemmbench.space import Config
from gemmbench.suite import Layer, Suite
from gemmbench.trial import Contender, Evaluation, RaceProtocol, Trial, TrialState

PLANTED = Path(__file__).parents[1] / "planted.py"
PROTOCOL = RaceProtocol(processes=1)
QUICK = RunOptions(budget=1.0, timeout=30.0)


class Memory:
    """A recorder that keeps what it is given; `on_record` may object."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.ended: list[int] = []
        self.begun = 0
        self.winner: Config | None = None
        self.stored: list[Evaluation] = []
        self.on_record: Callable[[Trial], None] = lambda trial: None

    def begin(
        self, command: str, machine: Machine, protocol: RaceProtocol, seed: int,
        software: Software | None = None,
    ) -> int:  # fmt: skip
        self.begun += 1
        self.software = software
        return self.begun

    def record(self, run: int, trial: Trial) -> None:
        self.trials.append(trial)
        self.on_record(trial)

    def end(self, run: int, exit_code: int) -> None:
        self.ended.append(exit_code)

    def best_config(
        self, machine: Machine, protocol: RaceProtocol, problem: Problem, contender: Contender,
        source_hash: str,
    ) -> Config | None:  # fmt: skip
        return self.winner

    def evaluations(
        self, machine: Machine, protocol: RaceProtocol, contender: Contender
    ) -> list[Evaluation]:
        return self.stored


class Silent:
    def layer(self, suite: str, name: str, position: int, total: int) -> None:
        pass

    def step(self, text: str) -> None:
        pass


def suite(*problems: Problem) -> Suite:
    layers = tuple(Layer(f"l{i}", problem, "s") for i, problem in enumerate(problems))
    return Suite("made-up", "d", "s", layers, "made-up.yaml")


def run(own: Suite, options: RunOptions, memory: Memory) -> Outcome:
    return run_suites([own], options, PROTOCOL, detect_machine(), memory, Silent(), "gemmbench")


def planted(*names: str) -> tuple[str, ...]:
    return tuple(f"{PLANTED}:{name}" for name in names)


@pytest.mark.parametrize(
    ("algorithms", "found"),
    [
        (("square",), [("l0", "", "SKIPPED"), ("l1", "square", "COMPLETE")]),
        (
            ("square", "gemm"),
            [("l0", "gemm", "COMPLETE"), ("l0", "square", "SKIPPED"), ("l1", "gemm", "COMPLETE"),
             ("l1", "square", "COMPLETE")],
        ),
        (("gemm",), [("l0", "gemm", "COMPLETE"), ("l1", "gemm", "COMPLETE")]),
    ],
)  # fmt: skip
def test_an_algorithm_asked_for_that_does_not_apply_is_skipped_with_its_reason(
    algorithms: tuple[str, ...], found: list[tuple[str, str, str]]
) -> None:
    memory = Memory()
    options = replace(QUICK, backends=planted("TakesSquares"), algorithms=algorithms)
    run(suite(Gemm(4, 5, 6), Gemm(5, 5, 6)), options, memory)
    told = sorted((t.layer, t.contender.algorithm, str(t.state)) for t in memory.trials)
    assert told == found
    skipped = [t.reason for t in memory.trials if t.state is TrialState.SKIPPED]
    assert set(skipped) <= {"square takes square matrices"}


def test_ctrl_c_keeps_what_was_recorded_and_ends_the_run() -> None:
    memory = Memory()

    def interrupt(trial: Trial) -> None:
        raise KeyboardInterrupt

    memory.on_record = interrupt
    outcome = run(
        suite(Gemm(4, 5, 6), Gemm(5, 6, 7)), replace(QUICK, backends=planted("Honest")), memory
    )
    assert outcome.interrupted
    assert [trial.layer for trial in memory.trials] == ["l0"]
    assert memory.ended == [130]


def test_a_stored_winner_is_raced_beside_the_default_without_a_search() -> None:
    memory = Memory()
    memory.winner = {"tile": 16, "unroll": 2}
    options = replace(QUICK, backends=planted("SearchesSoundTiles"))
    outcome = run(suite(Gemm(8, 8, 64)), options, memory)
    assert [(t.purpose, t.contender.tuned, dict(t.contender.config)) for t in memory.trials] == [
        ("race", False, {"tile": 8, "unroll": 1}),
        ("race", True, {"tile": 16, "unroll": 2}),
    ]
    assert (outcome.reused, outcome.evaluations) == (1, 0)


def test_where_only_stored_winners_are_wanted_nothing_is_searched() -> None:
    memory = Memory()
    options = replace(QUICK, backends=planted("SearchesSoundTiles"), tune="stored")
    assert run(suite(Gemm(8, 8, 64)), options, memory).evaluations == 0
    assert [dict(t.contender.config) for t in memory.trials] == [{"tile": 8, "unroll": 1}]
    memory.winner = {"tile": 16, "unroll": 2}
    assert run(suite(Gemm(8, 8, 64)), options, memory).reused == 1


def test_a_run_races_both_roofs_beside_the_contenders() -> None:
    memory = Memory()
    run(suite(Gemm(64, 64, 64)), replace(QUICK, backends=planted("Honest")), memory)
    (trial,) = memory.trials
    assert trial.peak_flops is not None
    assert trial.peak_bytes is not None
    assert 1e8 < trial.peak_bytes < 1e13  # bytes/s: any machine there is


def test_a_stored_winner_outside_the_space_is_not_reused() -> None:
    memory = Memory()
    memory.winner = {"tile": 3, "unroll": 2}
    options = replace(QUICK, backends=planted("SearchesSoundTiles"), budget=4.0, evaluations=3)
    outcome = run(suite(Gemm(8, 8, 64)), options, memory)
    assert outcome.reused == 0
    assert outcome.evaluations >= 1


def test_without_tuning_only_the_default_enters() -> None:
    memory = Memory()
    options = replace(QUICK, backends=planted("SearchesSoundTiles"), tune="never")
    run(suite(Gemm(8, 8, 64)), options, memory)
    assert [(t.purpose, t.contender.tuned) for t in memory.trials] == [("race", False)]


def test_a_backend_that_declines_is_skipped_with_its_reason() -> None:
    memory = Memory()
    run(suite(Conv2d(1, 1, 4, 4, 1, (3, 3))), replace(QUICK, backends=planted("Honest")), memory)
    (trial,) = memory.trials
    assert trial.state is TrialState.SKIPPED
    assert trial.reason


def test_a_backend_without_the_weights_asked_for_is_skipped() -> None:
    memory = Memory()
    options = replace(QUICK, backends=planted("Honest"), weights=("prepared",))
    run(suite(Gemm(4, 5, 6)), options, memory)
    (trial,) = memory.trials
    assert (trial.state, trial.reason) == (TrialState.SKIPPED, "offers only gemm plain")


def test_an_unavailable_backend_asked_for_by_name_is_bad_input_before_anything_is_written() -> None:
    memory = Memory()
    with pytest.raises(GemmbenchError, match="backend 'cupy' is unavailable: "):
        run(suite(Gemm(4, 5, 6)), replace(QUICK, backends=("cupy",)), memory)
    assert memory.begun == 0


def test_a_layer_that_does_not_fit_is_named_with_the_remedy() -> None:
    own = suite(Gemm(8, 8, 8), Gemm(4096, 4096, 4096))
    pairs = [(own, layer) for layer in own.layers]
    check_memory(pairs, RunOptions(memory_bytes=2**40))
    with pytest.raises(GemmbenchError, match=r"made-up\.yaml: layer 'l1': needs .* --memory"):
        check_memory(pairs, RunOptions(memory_bytes=2**20))


@pytest.mark.parametrize(
    ("states", "interrupted", "code"),
    [
        ([], False, 0),
        (["COMPLETE", "SKIPPED"], False, 0),
        (["COMPLETE", "FAILED"], False, 6),
        (["FAILED", "WRONG"], False, 5),
        (["FAILED", "WRONG"], True, 130),
    ],
)
def test_exit_codes_have_a_precedence(states: list[str], interrupted: bool, code: int) -> None:
    trials = [Trial("s", "l", Gemm(1, 1, 1), Contender("b", "gemm"), TrialState(s)) for s in states]
    assert exit_code(Outcome(1, trials, interrupted=interrupted)) == code


def test_the_default_budget_grows_with_the_layers() -> None:
    own = suite(Gemm(1, 1, 1), Gemm(2, 2, 2))
    assert budget_seconds([own], RunOptions()) == 2 * SECONDS_PER_LAYER
    assert budget_seconds([own], RunOptions(budget=3.0)) == 3.0


def tune_options(**changes: object) -> RunOptions:
    options = replace(QUICK, backends=planted("SearchesSoundTiles"), tune="more", budget=4.0)
    return replace(options, **changes)  # type: ignore[arg-type]


def raced(memory: Memory) -> list[dict[str, object]]:
    return [dict(trial.contender.config) for trial in memory.trials if trial.purpose == "race"]


def test_tuning_races_the_default_the_incumbent_and_what_it_found() -> None:
    memory = Memory()
    memory.winner = {"tile": 16, "unroll": 2}
    own = suite(Gemm(8, 8, 64))
    outcome = run(own, tune_options(evaluations=6), memory)
    assert outcome.evaluations >= 5
    assert {"tile": 8, "unroll": 1} in raced(memory)
    assert {"tile": 16, "unroll": 2} in raced(memory)
    assert len(raced(memory)) <= 3


def test_tuning_leaves_out_what_has_no_knobs() -> None:
    memory = Memory()
    outcome = run(suite(Gemm(8, 8, 64)), tune_options(backends=planted("Honest")), memory)
    (trial,) = outcome.trials
    assert trial.state is TrialState.SKIPPED
    assert trial.reason == "nothing to tune: no search space for gemm plain"


def test_tuning_starts_from_what_other_shapes_found() -> None:
    memory = Memory()
    source = [({"tile": t, "unroll": 1}, float(abs(t - 32) + 1)) for t in (4, 8, 16, 32)] * 2
    machine, problem = "another", Gemm(8, 8, 128)
    memory.stored = [
        Evaluation(problem, {**config, "unroll": u}, seconds + u, "x", machine, here=False)
        for u in (1, 2)
        for config, seconds in source[:4]
    ]
    run(suite(Gemm(8, 8, 64)), tune_options(evaluations=2), memory)
    asked = [dict(t.contender.config) for t in memory.trials if t.purpose == "tune"]
    assert asked == [{"tile": 8, "unroll": 1}, {"tile": 32, "unroll": 1}]


def test_an_unknown_strategy_is_bad_input_before_anything_is_written() -> None:
    memory = Memory()
    with pytest.raises(GemmbenchError, match="--strategy: 'magic' is unknown"):
        run(suite(Gemm(8, 8, 64)), tune_options(strategy="magic"), memory)
    assert memory.begun == 0


def test_leaders_are_tried_on_other_layers_only_while_there_is_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = suite(Gemm(8, 8, 64), Gemm(8, 8, 128))
    layers = [(own, layer) for layer in own.layers]
    machine = detect_machine()
    runner = Runner(tune_options(), PROTOCOL, machine, Memory(), Silent(), Outcome(1))
    runner.roofs.started["float32"] = None  # it needs no roof
    given: list[float] = []
    monkeypatch.setattr(
        "gemmbench.sharing.share_leaders",
        lambda runner, race, spec, problems: given.append(race.limits.seconds),
    )
    share(runner, layers, [layer.problem for layer in own.layers], time.monotonic() - 1)
    assert given == []
    share(runner, layers, [layer.problem for layer in own.layers], time.monotonic() + 1000)
    first, second = given
    assert first <= 500 < second <= 1000, "the first layer gets half, the second what is left"


def test_the_time_to_share_leaders_on_a_layer_is_divided_among_its_backends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = suite(Gemm(8, 8, 64))
    options = replace(tune_options(), backends=planted("Honest", "SearchesSoundTiles"))
    runner = Runner(options, PROTOCOL, detect_machine(), Memory(), Silent(), Outcome(1))
    runner.roofs.started["float32"] = None
    given: list[float] = []
    monkeypatch.setattr(
        "gemmbench.sharing.share_leaders",
        lambda runner, race, spec, problems: given.append(race.limits.seconds),
    )
    share(runner, [(own, own.layers[0])], [own.layers[0].problem], time.monotonic() + 1000)
    first, second = given
    assert first <= 500 < second <= 1000, "the first takes half, the second what is left"


def test_a_default_that_leads_is_measured_once_beside_what_leads_elsewhere() -> None:
    here, there = Gemm(8, 8, 64), Gemm(8, 8, 128)
    own, memory = suite(here), Memory()
    runner = Runner(tune_options(), PROTOCOL, detect_machine(), memory, Silent(), Outcome(1))
    runner.roofs.started["float32"] = None
    default, other = {"tile": 8, "unroll": 1}, {"tile": 16, "unroll": 2}
    with runner.arena(own, own.layers[0], 100.0) as race:
        (offer,) = runner.offers.of(runner.options.backends[0], here, race.limits).offers
        memory.stored = [
            Evaluation(problem, config, 1.0, offer.source_hash, "m", here=True)
            for problem, config in ((here, default), (there, other))
        ]
        visit_leaders(runner, replace(race, roof=None), offer, [here, there])
    assert [dict(trial.contender.config) for trial in memory.trials] == [default, other]
