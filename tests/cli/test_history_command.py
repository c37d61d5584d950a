"""`gemmbench history`, `doctor` and `export`: what they print, and one line for bad input."""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contract.test_history import BLAS, MACHINE, NUMBA, PROBLEM, PROTOCOL, drifting, raced
from gemmbench.cli.doctor import doctor
from gemmbench.cli.export import FORMATS, export
from gemmbench.cli.history import history
from gemmbench.errors import GemmbenchError
from gemmbench.trial import Trial, TrialState
from gemmbench_results.store import open_store


@pytest.fixture
def db(tmp_path: Path) -> str:
    path = tmp_path / "results.db"
    with open_store(path) as store:
        drifting(store, 14, step_at=7)
        raced(store, [(BLAS, 1e-3), (NUMBA, 2e-3)], software=None)
    return str(path)


def call(command, *arguments: str) -> Result:
    return CliRunner(env={"GEMMBENCH_DB": None}).invoke(command, arguments)


def test_a_history_shows_the_step_the_break_and_that_it_is_no_gate(db: str) -> None:
    done = call(history, "tiny", "--db", db)
    assert done.exit_code == 0
    assert "% in run 8 (" in done.output
    assert any(line.split()[:2] == ["suite", "layer"] for line in done.output.splitlines())
    assert any(line.split()[:2] == ["tiny", "fc"] for line in done.output.splitlines())
    assert "Not comparable with the runs above" in done.output
    assert "numpy: 2.4.6 → none" in done.output
    assert "A history informs; it decides nothing." in done.output


def test_a_file_names_the_suite_it_holds(db: str, tmp_path: Path) -> None:
    layers = "layers:\n  - {name: fc, gemm: 8x8x8, dtype: float32}\n"
    text = f"suite: tiny\ndescription: d\nsource: s\n{layers}"
    (tmp_path / "other.yaml").write_text(text)
    assert call(history, str(tmp_path / "other.yaml"), "--db", db).exit_code == 0


def test_each_format_is_what_it_says(db: str) -> None:
    assert len(json.loads(call(history, "--db", db, "--format", "json").stdout)["groups"]) == 2
    rows = list(csv.DictReader(io.StringIO(call(history, "--db", db, "--format", "csv").stdout)))
    assert len(rows) == 30
    assert "| layer " in call(history, "--db", db, "--format", "markdown").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nosuch",), "no stored race has 'nosuch'"),
        (("--layer", "conv*"), "--layer: no stored race has 'conv*'"),
        (("--backend", "nunba"), "Did you mean 'numba'?"),
        (("--reference", "mkl"), "--reference: no stored race has 'mkl'"),
        (("nosuch.yaml",), "nosuch.yaml"),
    ],
)
def test_asking_a_history_for_what_is_not_there_is_an_error(db, arguments, message) -> None:
    done = call(history, *arguments, "--db", db)
    assert isinstance(done.exception, GemmbenchError)
    assert message in str(done.exception)


def test_a_history_of_no_database_is_an_error_and_makes_none(tmp_path: Path) -> None:
    done = call(history, "--db", str(tmp_path / "no.db"))
    assert "there is no such database" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_ends_with_0_and_gives_what_why_and_remedy(tmp_path: Path) -> None:
    done = call(doctor, "--json", "-", "--quiet", "--root", str(tmp_path))
    assert done.exit_code == 0
    findings = json.loads(done.stdout)["findings"]
    assert all(set(one) == {"name", "level", "found", "why", "remedy"} for one in findings)
    assert {"governor", "CPU quota", "forced kernels"} <= {one["name"] for one in findings}
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/loadavg").write_text("9.00 1 1 1/1 1\n")
    lines = call(doctor, "--root", str(tmp_path)).stdout.splitlines()
    assert lines[0].startswith("warning  load: 9.00")
    assert lines[2].strip().startswith("Stop other programs")


def test_a_folder_that_is_not_there_is_a_usage_error() -> None:
    assert call(doctor, "--root", "/no/such/folder").exit_code == 2


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"kernel-tuner"}))
def test_every_format_is_exported_to_a_file(db: str, tmp_path: Path, name: str) -> None:
    target = tmp_path / "out"
    done = call(export, "--format", name, "--db", db, "--output", str(target))
    assert done.exit_code == 0, done.exception
    assert "numba gemm" in target.read_text()
    assert call(export, "--format", name, "--db", db, "--output", str(target)).exit_code == 0


def test_nothing_but_such_an_export_is_overwritten(db: str, tmp_path: Path) -> None:
    suite = tmp_path / "mine.yaml"
    suite.write_text("suite: mine\n")
    for kept in (Path(db), suite):
        before = kept.read_bytes()
        done = call(export, "--format", "bmf", "--db", db, "--output", str(kept))
        assert "something else than such an export" in str(done.exception)
        assert kept.read_bytes() == before


def test_the_latest_run_that_raced_is_exported_though_a_check_came_after(db: str) -> None:
    with open_store(db) as store:
        raced(store, [(BLAS, 1e-3), (NUMBA, 2e-3)], purpose="check")
    done = call(export, "--format", "bmf", "--db", db)
    assert "numba gemm" in done.output, done.exception


def test_a_race_in_which_everything_failed_hides_no_other(db: str) -> None:
    with open_store(db) as store:
        failed = store.begin("gemmbench tune tiny", MACHINE, PROTOCOL, 0, None)
        store.record(failed, Trial("tiny", "fc", PROBLEM, NUMBA, TrialState.FAILED, reason="no"))
    done = call(export, "--format", "bmf", "--db", db)
    assert "numba gemm" in done.output, done.exception
    named = call(export, "--format", "bmf", "--db", db, "--run", str(failed))
    assert f"Run {failed - 1} has some that were: --run {failed - 1}." in str(named.exception)
    assert "<error" in call(export, "--format", "junit", "--db", db).output


def test_where_nothing_was_ever_timed_no_run_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with open_store(path) as store:
        failed = store.begin("gemmbench tune tiny", MACHINE, PROTOCOL, 0, None)
        store.record(failed, Trial("tiny", "fc", PROBLEM, NUMBA, TrialState.FAILED, reason="no"))
    done = call(export, "--format", "bmf", "--db", str(path))
    assert str(done.exception) == (
        "run 1: none of the contenders asked for was timed. Run 'gemmbench run SUITE'."
    )


def test_exporting_without_a_format_is_one_line_that_lists_them(db: str) -> None:
    message = str(call(export, "--db", db).exception)
    assert message.startswith("--format: say which: ")
    assert all(name in message for name in FORMATS)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "bmf", "--layer", "conv1"), "--layer: it has no 'conv1'. Choose from fc"),
        (("--format", "bmf", "--run", "99"), "there is no run 99"),
        (("--format", "kernel-tuner"), "no search fits"),
        (("--format", "otava-csv", "--run", "1"), "takes no --run"),
        (("--format", "bmf", "--output", "/no/such/folder/x"), "not in a folder that exists"),
    ],
)
def test_exporting_what_is_not_there_is_an_error(db: str, arguments, message: str) -> None:
    done = call(export, *arguments, "--db", db)
    assert message in str(done.exception)
