"""CUDA tests without a GPU: what they need, and what they say when they ran."""

from collections.abc import Iterator

import pytest

from gemmbench_backends.cupy_cuda.compile import compiler_missing, compiler_version

from .stand_in import State, installed

SMOKE_PROBLEMS = (  # of the contract's, in the smoke set; all of them with -m cuda_whole
    "gemm-odd", "gemm-ragged", "linear-batch3", "conv-uneven", "conv-groups", "conv-1x1-stride",
)  # fmt: skip
USED: set[str] = set()  # names of the tests that compiled or simulated something


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, with the reason, what cannot run here and what was not asked for."""
    items[:] = [item for item in items if not repeats_for_threads(item)]
    for item in items:
        if is_of_the_contract(item) and not in_smoke_set(item):
            item.own_markers.append(pytest.mark.cuda_whole.mark)
            item.keywords["cuda_whole"] = True
    asked = config.getoption("-m") or ""
    if "cuda_whole" not in asked:  # in a file of smoke tests they are marked `cuda` too
        items[:] = [
            item for item in items
            if not (item.get_closest_marker("cuda_whole")
                    and (is_of_the_contract(item) or "cuda" in asked))
        ]  # fmt: skip
    cuda = [item for item in items if item.get_closest_marker("cuda")]
    whole = [item for item in items if item.get_closest_marker("cuda_whole")]
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    for item in cuda + whole:
        if "cuda" not in asked:
            item.add_marker(pytest.mark.skip(reason="compiles and simulates: pytest -m cuda"))
    if "cuda" in asked and cuda + whole:
        reason = compiler_missing()
        for item in cuda + whole if reason is not None else []:
            item.add_marker(pytest.mark.skip(reason=f"no CUDA compiler: {reason}"))
    for item in gpu:
        reason = no_gpu()
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=f"no GPU: {reason}"))


def is_of_the_contract(item: pytest.Item) -> bool:
    """Whether it is a test of the Backend contract on one of its problems, on the stand-in."""
    values = getattr(getattr(item, "callspec", None), "params", {})
    return "cupy_cuda" in item.nodeid and "name" in values and "backend" in values


def in_smoke_set(item: pytest.Item) -> bool:
    """Whether it is short: random configs of the larger problems take seconds each to compile."""
    name = item.callspec.params["name"]
    compiles_many = "random_configs" in item.name and name != "linear-batch3"
    return name in SMOKE_PROBLEMS and not compiles_many


def repeats_for_threads(item: pytest.Item) -> bool:
    """Whether a test of the contract only differs in the threads, which a device does not have."""
    values = getattr(getattr(item, "callspec", None), "params", {})
    return "cupy_cuda" in item.nodeid and values.get("threads") == 2


def no_gpu() -> str | None:
    """Why there is no device to test on."""
    from gemmbench_backends.cupy_cuda.device import unavailable

    return unavailable()


@pytest.fixture(autouse=True)
def used(request: pytest.FixtureRequest) -> None:
    """Remember that a test of the compiler's output ran."""
    if request.node.get_closest_marker("cuda") or request.node.get_closest_marker("cuda_whole"):
        USED.add(request.node.nodeid)


@pytest.fixture
def device() -> Iterator[State]:
    """The stand-in, as the CuPy that is imported."""
    with installed(State()) as state:
        yield state


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what a green run of these tests is, and what it is not."""
    if USED:
        terminalreporter.section("CUDA")
        terminalreporter.write_line(
            f"No GPU was used: {len(USED)} tests compiled with {compiler_version()} and ran the "
            "PTX in the simulator. That proves answers, not speed; see tests/cupy_cuda/simulator."
        )
