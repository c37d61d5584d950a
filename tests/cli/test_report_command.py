"""`gemmbench report`: where it writes, what it prints, and one line for bad input."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gemmbench.cli.report import counts_of, report
from gemmbench.errors import GemmbenchError
from gemmbench_results.report.web.evidence import gather
from gemmbench_results.store import open_store
from report_example import fill, full_trials


@pytest.fixture(autouse=True)
def small_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemmbench_results.report.web.page.plotly_source", lambda: "Plotly = {};")


@pytest.fixture
def db(tmp_path: Path) -> str:
    path = tmp_path / "results.db"
    with open_store(path) as store:
        fill(store, full_trials(), runs=2)
    return str(path)


def call(*arguments: str) -> Result:
    return CliRunner(env={"GEMMBENCH_DB": None}).invoke(report, arguments)


def test_without_a_file_the_page_lands_beside_the_database(db: str) -> None:
    done = call("--db", db)
    assert done.exit_code == 0, done.exception
    page = Path(db).with_name("report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "<h1>alexnet</h1>" in page
    first, second = done.stdout.splitlines()
    assert first.startswith("alexnet: ")
    assert re.search(r" MB, run 2 \(gemmbench .*, \d{4}-\d\d-\d\d\), \d+ layers$", second)


def test_a_run_that_raced_more_is_named_where_a_smaller_one_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with open_store(path) as store:
        fill(store, full_trials(), command="gemmbench network alexnet")
        fill(store, full_trials()[:1], command="gemmbench run alexnet --only conv1")
    lines = call("--db", str(path)).stdout.splitlines()
    assert "run 2 (gemmbench run alexnet --only conv1, " in lines[1]
    assert lines[1].endswith("), 1 layer")
    assert lines[2] == f"Run 1 raced {len({t.layer for t in full_trials()})} layers: " + (
        "--run 1 reports it."
    )


def test_a_file_or_stdout_may_be_named_and_quiet_prints_nothing(db: str, tmp_path: Path) -> None:
    target = tmp_path / "mine.html"
    assert call("alexnet", "--db", db, "--html", str(target), "--quiet").stdout == ""
    assert target.is_file()
    assert call("--db", db, "--html", "-").stdout == target.read_text()


def test_an_older_run_may_be_chosen(db: str) -> None:
    assert "run 1, " in call("--db", db, "--run", "1", "--html", "-").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nosuch",), "holds no race of 'nosuch'. Choose from alexnet"),
        (("--run", "7"), "there is no run 7"),
        (("--html", "page.txt"), "--html: got 'page.txt', expected FILE.html"),
        (("--html", "/no/such/folder/page.html"), "in a folder that exists"),
        (("nosuch.yaml",), "nosuch.yaml"),
    ],
)
def test_asking_for_what_cannot_be_is_an_error(db: str, arguments, message: str) -> None:
    done = call(*arguments, "--db", db)
    assert isinstance(done.exception, GemmbenchError)
    assert message in str(done.exception)


def test_a_report_of_no_database_is_an_error_and_makes_none(tmp_path: Path) -> None:
    done = call("--db", str(tmp_path / "no.db"))
    assert "there is no such database" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_without_plotly_the_command_that_installs_it_is_named(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert "pip install 'gemmbench[plot]'" in str(call("--db", db).exception)


def test_the_layers_of_a_suite_that_changed_since_are_counted_once(tmp_path: Path) -> None:
    layers = "layers:\n  - {name: fc, gemm: 8x8x8, dtype: float32, count: 4}\n"
    file = tmp_path / "alexnet.yaml"
    file.write_text(f"suite: alexnet\ndescription: d\nsource: s\n{layers}")
    with open_store(tmp_path / "results.db") as store:
        fill(store, [replace(full_trials()[0], layer="fc")])
        same = gather(store)
        fill(store, [replace(full_trials()[0], layer="fc"), full_trials()[0]])
        changed = gather(store)
    assert counts_of(str(file), same) == {"fc": 4}
    assert counts_of(str(file), changed) == {}
    assert counts_of("nosuch", same) == {}
