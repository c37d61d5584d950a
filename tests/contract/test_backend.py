"""Every installed backend keeps the Backend contract: the same assertions for all of them.

A backend is tested from the moment it is registered. One that cannot run here is skipped with
its own reason; if none could run, this file fails.
"""

import contextlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from gemmbench.algorithm import ALGORITHMS, TRANSFORM_ALGORITHMS
from gemmbench.backend import (
    Array,
    Backend,
    Prepared,
    algorithms,
    declined,
    installed_backends,
    load_backend,
    locate_backend,
)
from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine, detect_machine
from gemmbench.operands import GuardedOutput, aligned_empty, fill_operands, guarded_output
from gemmbench.problem import Conv2d, Gemm, Linear, Problem
from gemmbench.reference import check, product, typical_magnitude
from gemmbench.space import Config, SearchSpace

RANDOM_CONFIGS = 3
# Every entry point, and the options that name another library.
SPECS = sorted(
    [
        *installed_backends(),
        "blas:openblas",
        "blas:mkl",
        "blas:blis",
        "fft:mkl",
        "fft:fftw",
        "cupy:cublas",
        "cupy:cudnn",
        "cupy:cufft",
    ]
)

PROBLEMS: dict[str, Problem] = {
    "gemm": Gemm(24, 40, 32),
    "gemm-odd": Gemm(13, 37, 29),
    "gemm-ragged": Gemm(67, 301, 45),
    "gemm-k1": Gemm(64, 1, 3),
    "gemm-n1": Gemm(31, 129, 1),
    "gemm-m1": Gemm(1, 33, 17),
    "gemm-1": Gemm(1, 1, 1),
    "linear-batch1": Linear(1, 67, 35),
    "linear-batch3": Linear(3, 64, 50),
    "linear-out1": Linear(5, 19, 1),
    "conv": Conv2d(1, 3, 9, 8, 5, (3, 3)),
    "conv-batch3-pad": Conv2d(3, 4, 8, 9, 6, (3, 3), pad=(1, 1)),
    "conv-stride-11": Conv2d(1, 3, 27, 27, 7, (11, 11), stride=(4, 4)),
    "conv-uneven": Conv2d(2, 3, 11, 14, 4, (3, 5), stride=(2, 3), pad=(1, 2)),
    "conv-dilated": Conv2d(1, 2, 12, 11, 3, (3, 2), pad=(2, 1), dilation=(2, 3)),
    "conv-groups": Conv2d(3, 6, 7, 7, 9, (5, 5), pad=(2, 2), groups=3),
    "conv-depthwise": Conv2d(1, 8, 10, 9, 8, (3, 3), stride=(2, 2), pad=(1, 1), groups=8),
    "conv-1x1": Conv2d(3, 7, 6, 5, 4, (1, 1)),
    "conv-1x1-stride": Conv2d(1, 6, 9, 7, 4, (1, 1), stride=(2, 2), groups=2),
    "conv-1x1-pad": Conv2d(1, 3, 5, 5, 2, (1, 1), pad=(1, 1)),
    "conv-whole": Conv2d(3, 5, 6, 4, 8, (6, 4)),
    "conv-k1": Conv2d(1, 1, 13, 9, 1, (1, 1)),
}
TUNED = ("gemm-ragged", "linear-batch3", "conv-groups")  # problems that random configs compute


@pytest.fixture(scope="module")
def machine() -> Machine:
    return detect_machine()


@pytest.fixture(scope="module", params=SPECS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each registered backend. One that does not load fails the one test about that."""
    try:
        return load_backend(locate_backend(request.param))
    except (ImportError, GemmbenchError) as error:
        pytest.skip(f"{request.param} does not load: {error}")


@pytest.fixture
def runnable(backend: Backend) -> Backend:
    reason = backend.unavailable()
    if reason is not None:
        pytest.skip(f"{backend.name}: {reason}")
    return backend


@dataclass(frozen=True, slots=True)
class Buffers:
    """The memory that a contender sees, and what its inputs should still hold."""

    problem: Problem
    inputs: dict[str, Array]
    expected: dict[str, Array]
    out: GuardedOutput

    def load(self, operands: Mapping[str, Array]) -> None:
        for name, array in operands.items():
            np.copyto(self.inputs[name], array)
            self.expected[name] = np.array(array)

    def assert_untouched(self) -> None:
        for name, array in self.expected.items():
            np.testing.assert_array_equal(self.inputs[name], array, f"input {name} was written")
        assert not self.out.overrun(), "the guard bands were written"


def make_buffers(problem: Problem, fill: str) -> Buffers:
    shapes = problem.operand_shapes()
    inputs = {name: aligned_empty(shape, problem.dtype) for name, shape in shapes.items()}
    buffers = Buffers(problem, inputs, {}, guarded_output(problem))
    buffers.load(fill_operands(problem, fill, seed=0))
    return buffers


def prepare(backend: Backend, buffers: Buffers, config: Config) -> Prepared:
    operands = {**buffers.inputs, "out": buffers.out.array}
    return backend.prepare(buffers.problem, config, operands)


def synchronize(prepared: Prepared) -> None:
    getattr(prepared, "synchronize", lambda: None)()


def load(prepared: Prepared, buffers: Buffers, operands: Mapping[str, Array]) -> None:
    """Change the inputs; a device copies them when it is told to."""
    buffers.load(operands)
    getattr(prepared, "load", lambda: None)()


def assert_right_answer(
    prepared: Prepared, buffers: Buffers, config: Config, *, exact: bool = False, steps: Any = None
) -> None:
    """Run (or take the given steps) into a poisoned output and compare with float64."""
    buffers.out.poison()
    for step in steps or [prepared.run]:
        step()
    synchronize(prepared)
    assert_output(prepared, buffers, config, exact=exact)


def assert_output(prepared: Prepared, buffers: Buffers, config: Config, *, exact: bool) -> None:
    problem, algorithm = buffers.problem, str(config["algorithm"])
    output = prepared.output()
    assert output.dtype == problem.dtype
    magnitude = None
    if not exact and algorithm not in TRANSFORM_ALGORITHMS:
        sizes = {name: np.abs(array) for name, array in buffers.expected.items()}
        magnitude = product(problem, sizes)
    scale = typical_magnitude(problem, buffers.expected)
    answer = product(problem, buffers.expected)
    growth = getattr(prepared, "error_growth", 1.0)
    result = check(problem, algorithm, output, answer, magnitude, scale, growth)
    assert result.right, f"{problem} with {dict(config)}: {result}"
    buffers.assert_untouched()


def choices(backend: Backend, problem: Problem, threads: int) -> Iterator[dict[str, Any]]:
    for algorithm, kinds in algorithms(backend, problem).items():
        for weights in kinds:
            yield {"algorithm": algorithm, "weights": weights, "threads": threads}


def default_config(space: SearchSpace | None) -> dict[str, Any]:
    return {} if space is None else dict(space.default)


def supported(backend: Backend, name: str, dtype: str = "float32") -> Problem:
    problem = replace(PROBLEMS[name], dtype=dtype)
    reason = backend.supports(problem)
    if reason is not None:
        pytest.skip(f"{backend.name}: {reason}")
    return problem


def assert_one_line(reason: str | None) -> None:
    if reason is not None:
        assert isinstance(reason, str)
        assert reason.strip()
        assert "\n" not in reason


@pytest.mark.parametrize("spec", SPECS)
def test_a_registered_backend_loads_and_has_that_name(spec: str) -> None:
    assert load_backend(locate_backend(spec)).name == spec


def test_reasons_are_one_line(backend: Backend) -> None:
    assert_one_line(backend.unavailable())
    for problem in PROBLEMS.values():
        assert_one_line(backend.supports(problem))


def test_the_library_says_what_runs(runnable: Backend) -> None:
    if hasattr(runnable, "library"):
        assert_one_line(runnable.library())
        assert runnable.library()


def test_the_sources_are_files(backend: Backend) -> None:
    if hasattr(backend, "sources"):
        assert all(path.is_file() for path in backend.sources())


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_supported_problem_has_algorithms_and_weights(backend: Backend, name: str) -> None:
    offered = algorithms(backend, supported(backend, name))
    assert offered
    if type(backend).__module__.startswith("gemmbench_backends"):
        assert set(offered) <= set(ALGORITHMS), "the help of --algorithm names them all"
    for kinds in offered.values():
        assert kinds
        assert set(kinds) <= {"plain", "prepared"}


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_is_declined_is_not_offered_and_has_a_reason(backend: Backend, name: str) -> None:
    problem = supported(backend, name)
    reasons = declined(backend, problem)
    assert not set(reasons) & set(algorithms(backend, problem))
    for why in reasons.values():
        assert why
        assert_one_line(why)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_default_config_is_in_the_search_space(
    backend: Backend, machine: Machine, name: str, threads: int
) -> None:
    problem = supported(backend, name)
    for choice in choices(backend, problem, threads):
        space = backend.search_space(problem, machine, choice)
        if space is not None:
            assert space.default in space
            assert not set(choice) & {axis.name for axis in space.axes}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_default_config_gives_the_right_answer(
    runnable: Backend, machine: Machine, name: str, dtype: str, threads: int
) -> None:
    problem = supported(runnable, name, dtype)
    for choice in choices(runnable, problem, threads):
        space = runnable.search_space(problem, machine, choice)
        assert_contract_kept(runnable, problem, {**default_config(space), **choice})


@pytest.mark.parametrize("name", TUNED)
def test_random_configs_give_the_right_answer(
    runnable: Backend, machine: Machine, name: str
) -> None:
    problem = supported(runnable, name)
    for choice in choices(runnable, problem, threads=2):
        space = runnable.search_space(problem, machine, choice)
        configs = list(space) if space is not None else []
        sample = random.Random(0).sample(configs, min(RANDOM_CONFIGS, len(configs)))
        taken = [c for c in sample if not refuses(runnable, problem, {**c, **choice})]
        assert bool(taken) == bool(sample)
        for config in taken:
            assert_contract_kept(runnable, problem, {**config, **choice})


def refuses(backend: Backend, problem: Problem, config: Config) -> bool:
    """Whether the backend, having compiled it, declines to run a config, with the reason."""
    try:
        prepare(backend, make_buffers(problem, "zeros"), config)
    except GemmbenchError as refusal:
        reason = str(refusal)
    else:
        return False
    assert "not launched: " in reason
    assert_one_line(reason)
    return True


def assert_contract_kept(backend: Backend, problem: Problem, config: Config) -> None:
    """Right on integers, right after its inputs change in place, and right when run again."""
    buffers = make_buffers(problem, "integers")
    prepared = prepare(backend, buffers, config)
    assert_right_answer(prepared, buffers, config, exact=True)
    changed = fill_operands(problem, "uniform", seed=1)
    if config["weights"] == "prepared":
        del changed["w"]  # packed ahead: only the activations may change
    load(prepared, buffers, changed)
    for _ in range(2):
        assert_right_answer(prepared, buffers, config)
    if config["weights"] == "prepared":
        buffers.load(fill_operands(problem, "uniform", seed=2))
        assert_right_answer(prepare(backend, buffers, config), buffers, config)


@pytest.mark.parametrize("name", PROBLEMS)
def test_stages_do_the_work_of_a_run(runnable: Backend, machine: Machine, name: str) -> None:
    """In order they give the answer; of several products, at least of the last one.

    A backend that lowers image by image, or group by group, reuses its buffer for each.
    """
    problem = supported(runnable, name)
    for choice in choices(runnable, problem, threads=1):
        space = runnable.search_space(problem, machine, choice)
        config = {**default_config(space), **choice}
        buffers = make_buffers(problem, "uniform")
        prepared = prepare(runnable, buffers, config)
        stages = getattr(prepared, "stages", {})
        if not stages:
            continue
        if problem.gemm().count == 1:
            assert_right_answer(prepared, buffers, config, steps=list(stages.values()))
        else:
            assert_last_product_right(prepared, buffers, config, stages)


def assert_last_product_right(
    prepared: Prepared, buffers: Buffers, config: Config, stages: Mapping[str, Any]
) -> None:
    buffers.out.poison()
    for stage in stages.values():
        stage()
    synchronize(prepared)
    assert not np.isnan(prepared.output()).any(), f"{dict(config)}: stages left output unwritten"
    one = -buffers.problem.gemm().m  # the filters of one group
    last = np.array(prepared.output()[-1, one:])
    assert_right_answer(prepared, buffers, config)
    np.testing.assert_array_equal(last, prepared.output()[-1, one:], f"stages of {dict(config)}")


@pytest.mark.parametrize("name", PROBLEMS)
def test_facts_about_a_contender_are_counts(runnable: Backend, machine: Machine, name: str) -> None:
    problem = supported(runnable, name)
    for choice in choices(runnable, problem, threads=1):
        space = runnable.search_space(problem, machine, choice)
        buffers = make_buffers(problem, "uniform")
        prepared = prepare(runnable, buffers, {**default_config(space), **choice})
        for fact in ("workspace_bytes", "flops"):
            value = getattr(prepared, fact, 0)
            assert isinstance(value, int), fact
            assert value >= 0, fact
        assert all(callable(stage) for stage in getattr(prepared, "stages", {}).values())


def test_preparing_on_a_machine_that_cannot_run_it_is_one_line(backend: Backend) -> None:
    reason = backend.unavailable()
    if reason is None:
        pytest.skip(f"{backend.name} is available")
    problem = PROBLEMS["gemm"]
    buffers = make_buffers(problem, "zeros")
    config = {"algorithm": "gemm", "weights": "plain", "threads": 1}
    with pytest.raises(GemmbenchError) as raised:
        prepare(backend, buffers, config)
    assert reason in str(raised.value)
    assert_one_line(str(raised.value))


def test_every_problem_is_computed_by_a_backend_that_runs_here() -> None:
    usable = []
    for spec in SPECS:
        with contextlib.suppress(ImportError, GemmbenchError):
            usable.append(load_backend(locate_backend(spec)))
    usable = [backend for backend in usable if backend.unavailable() is None]
    for name, problem in PROBLEMS.items():
        assert any(backend.supports(problem) is None for backend in usable), name
