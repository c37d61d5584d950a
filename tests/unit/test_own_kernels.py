"""The rows of benchmarks/own_kernels.py, also where a race told nothing."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from gemmbench.measurement import Measurement, Sample
from gemmbench.problem import Gemm
from gemmbench.trial import Contender, Trial, TrialState

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "own_kernels.py"
KERNEL = Contender("numba", "gemm", config={"mr": 4})
DEFAULT = Trial(
    "s", "l", Gemm(8, 8, 8), KERNEL, TrialState.COMPLETE,
    measurement=Measurement(tuple(Sample(2.0, 1, process, 0) for process in range(2))),
)  # fmt: skip
TUNED = replace(
    DEFAULT,
    contender=replace(KERNEL, config={"mr": 6}, tuned=True),
    measurement=Measurement(tuple(Sample(1.0, 1, process, 0) for process in range(2))),
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_kernels", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_share_is_of_what_a_user_has_after_the_first_search(script: ModuleType) -> None:
    assert script.outcome([DEFAULT, TUNED], {"mr": 6}) == "1.000 |  | 0.500 | 2"
    assert script.outcome([DEFAULT, TUNED], None).startswith("0.500 | 0.000 | 0.500")


def test_a_default_that_did_not_complete_is_said_in_its_row(script: ModuleType) -> None:
    wrong = replace(DEFAULT, state=TrialState.WRONG, reason="off by 3", measurement=Measurement())
    cells = script.outcome([wrong, TUNED], {"mr": 6})
    assert cells == "- | | the default was not timed (WRONG: off by 3) | 0"
    assert script.outcome([wrong], None) == cells


@pytest.mark.parametrize("code", [5, 6])
def test_a_run_whose_trials_went_wrong_ends_with_their_code_and_a_broken_one_never(
    script: ModuleType, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gemmbench_results.store import open_store

    state = {5: TrialState.WRONG, 6: TrialState.FAILED}[code]
    arguments = ["own_kernels.py", "alexnet", "--only", "fc6", "--db", str(tmp_path / "own.db")]
    monkeypatch.setattr("sys.argv", arguments)

    def row(runner, *given):  # type: ignore[no-untyped-def]
        runner.record(replace(DEFAULT, state=state))
        return ""

    def broken(*given):  # type: ignore[no-untyped-def]
        raise RuntimeError

    monkeypatch.setattr(script, "row", row)
    assert script.main() == code
    monkeypatch.setattr(script, "row", broken)
    with pytest.raises(RuntimeError):
        script.main()
    with open_store(tmp_path / "own.db") as store:
        assert [run.exit_code for run in store.runs()] == [code, None]
