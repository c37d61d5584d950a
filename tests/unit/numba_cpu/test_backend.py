"""The backend as a worker meets it: every kind of problem, its space, odd machines."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gemmbench.operands import fill_operands, guarded_output
from gemmbench.problem import Conv2d, Gemm, Linear, ProblemError

from .reference import BACKEND, HERE, answer, assert_exact, choices

BOUNDED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DTYPES = st.sampled_from(["float32", "float64"])
SIZES = st.one_of(st.integers(1, 20), st.integers(1, 130))
PROBLEMS = [
    Gemm(256, 1152, 192),
    Gemm(1, 1, 1),
    Gemm(5, 700, 3, "float64"),
    Linear(1, 9216, 4096),
    Linear(10, 4096, 1000, "float64"),
    Linear(128, 512, 300),
    Conv2d(10, 3, 227, 227, 96, (11, 11), (4, 4)),
    Conv2d(1, 96, 27, 27, 256, (5, 5), pad=(2, 2), groups=2),
    Conv2d(2, 64, 14, 14, 64, (3, 3), pad=(1, 1), groups=64),
]


@st.composite
def convolutions(draw):
    groups = draw(st.integers(1, 3))
    small = st.integers(1, 3)
    try:
        return Conv2d(
            draw(small), groups * draw(st.integers(1, 5)), draw(st.integers(1, 20)),
            draw(st.integers(1, 20)), groups * draw(st.integers(1, 12)),
            draw(st.tuples(st.integers(1, 5), st.integers(1, 5))), draw(st.tuples(small, small)),
            draw(st.tuples(st.integers(0, 3), st.integers(0, 3))), draw(st.tuples(small, small)),
            groups, draw(DTYPES),
        )  # fmt: skip
    except ProblemError:
        assume(False)


def some_configs(problem, choice, seed, count=2):
    """The default, and a few points drawn from the space."""
    space = BACKEND.search_space(problem, HERE, choice)
    rng, drawn = np.random.default_rng(seed), [dict(space.default)]
    for _ in range(200):
        config = {axis.name: axis.values[rng.integers(len(axis.values))] for axis in space.axes}
        if space.rejected_by(config) is None:
            drawn.append(config)
        if len(drawn) > count:
            break
    return [{**config, **choice} for config in drawn]


def assert_all_exact(problem, threads, seed):
    for choice in choices(problem, threads):
        for config in some_configs(problem, choice, seed):
            assert_exact(problem, config)


@BOUNDED
@given(SIZES, SIZES, SIZES, DTYPES, st.sampled_from([1, 2, 4]), st.integers(0, 2**30))
def test_products_are_exact_for_configs_of_their_space(m, k, n, dtype, threads, seed):
    assert_all_exact(Gemm(m, k, n, dtype), threads, seed)


@BOUNDED
@given(SIZES, SIZES, SIZES, DTYPES, st.sampled_from([1, 2, 4]), st.integers(0, 2**30))
def test_fully_connected_layers_are_exact_for_configs_of_their_space(
    batch, inner, outer, dtype, threads, seed
):
    assert_all_exact(Linear(batch, inner, outer, dtype), threads, seed)


@settings(BOUNDED, max_examples=100)
@given(convolutions(), st.sampled_from([1, 2, 4]), st.integers(0, 2**30))
def test_convolutions_are_exact_for_configs_of_their_space(problem, threads, seed):
    assert_all_exact(problem, threads, seed)


@pytest.mark.parametrize(
    "problem",
    [Gemm(150, 200, 170), Conv2d(3, 16, 30, 30, 32, (3, 3), pad=(1, 1)), Linear(20, 300, 200)],
    ids=lambda problem: problem.kind,
)
def test_problems_large_enough_for_threads_are_exact_on_every_grid(problem):
    for choice in choices(problem, 4):
        space = BACKEND.search_space(problem, HERE, choice)
        (grids,) = [axis.values for axis in space.axes if axis.name == "grid"]
        assert len(grids) > 1
        for grid in grids:
            assert_exact(problem, {**space.default, **choice, "grid": grid})


@pytest.mark.parametrize(
    ("problem", "algorithm"),
    [
        (Linear(20, 300, 209), "gemm"),  # of prepared weights too
        (Conv2d(2, 32, 9, 9, 40, (3, 3), pad=(1, 1)), "implicit-gemm"),
        (Conv2d(2, 32, 9, 9, 40, (3, 3), pad=(1, 1)), "im2col"),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
@pytest.mark.parametrize("order", ["panels", "rows"])
def test_a_lone_column_is_exact_over_several_blocks_along_k(problem, algorithm, order):
    """209 outputs and 81 pixels are 1 more than whole registers of any width."""
    for choice in (c for c in choices(problem, 2) if c["algorithm"] == algorithm):
        default = BACKEND.search_space(problem, HERE, choice).default
        blocks = {"path": "tiles", "kc": 128, "mr": 4, "nv": 2, "order": order}
        for grid in ("1x1x1", "1x2x1", "1x1x2"):
            assert_exact(problem, {**default, **choice, **blocks, "grid": grid})


def test_stages_of_im2col_together_compute_the_layer():
    problem = Conv2d(1, 4, 9, 9, 6, (3, 3), (2, 2), (1, 1))
    (choice,) = [c for c in choices(problem, 1) if c["algorithm"] == "im2col"]
    operands, output = fill_operands(problem, "integers", 1), guarded_output(problem)
    config = {**BACKEND.search_space(problem, HERE, choice).default, **choice}
    prepared = BACKEND.prepare(problem, config, {**operands, "out": output.array})
    assert list(prepared.stages) == ["im2col", "multiply"]
    for stage in prepared.stages.values():
        stage()
    np.testing.assert_array_equal(prepared.output(), answer(problem, operands))
    assert prepared.workspace_bytes >= problem.im2col_bytes()


def test_tiny_problems_stay_on_one_thread():
    (choice,) = choices(Gemm(20, 20, 20), 8)
    assert BACKEND.search_space(Gemm(20, 20, 20), HERE, choice).default["grid"] == "1x1x1"


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
@pytest.mark.parametrize("threads", [1, 2, 16])
def test_space_is_small_enough_to_enumerate_and_holds_its_default(problem, threads):
    for choice in choices(problem, threads):
        space = BACKEND.search_space(problem, HERE, choice)
        assert 1 <= space.size() <= 20_000
        assert space.default in space


@pytest.mark.parametrize("l1", [0, 8 * 1024, 48 * 1024])
@pytest.mark.parametrize("l2", [0, 64 * 1024, 2 * 1024**2])
@pytest.mark.parametrize("features", [("avx512f",), ("avx2", "fma"), ("neon",)])
def test_default_is_valid_on_machines_with_odd_caches(l1, l2, features):
    system = "Linux aarch64" if features == ("neon",) else "Linux x86_64"
    machine = dataclasses.replace(
        HERE, l1d_bytes=l1, l2_bytes=l2, l3_bytes=0, features=features, system=system
    )
    for problem in PROBLEMS:
        for choice in choices(problem, 2):
            space = BACKEND.search_space(problem, machine, choice)
            assert space.default in space


@pytest.mark.parametrize("features", [("avx512f",), ("avx2", "fma"), ("neon",)])
def test_register_blocks_of_the_space_fit_the_registers(features):
    count = 16 if "avx2" in features else 32
    system = "Linux aarch64" if features == ("neon",) else "Linux x86_64"
    machine = dataclasses.replace(HERE, features=features, system=system)
    for problem in (Gemm(512, 512, 512), Linear(4, 600, 300)):
        for choice in choices(problem, 1):
            for config in itertools.islice(BACKEND.search_space(problem, machine, choice), 5000):
                assert config["mr"] * config["nv"] + config["nv"] + 1 <= count


def test_library_names_versions_and_vector_registers():
    assert BACKEND.library().startswith("numba ")
    assert "×f32" in BACKEND.library()


def test_sources_are_the_python_files_of_the_backend():
    names = {path.name for path in BACKEND.sources()}
    assert {"__init__.py", "driver.py", "microkernel.py"} <= names
