"""`gemmbench check` and `aa` as a user calls them, on layers that take no time."""

import json
import os
import sqlite3
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

TESTS = Path(__file__).parents[1]
SUITE = """
suite: tiny
description: two products that take no time
source: made up
layers:
  - {name: square, gemm: 12x13x14}
  - {name: flat, gemm: 3x40x20}
"""
ONE = ("--only", "square")
KEYS = {
    "layer", "backend", "estimate", "low", "high", "smallest_visible", "verdict", "pairs",
    "seconds_measured", "base", "head",
}  # fmt: skip


def planted(name: str) -> str:
    return f"{TESTS / 'planted.py'}:{name}"


def gemmbench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "tiny.yaml").write_text(SUITE)
    return subprocess.run(
        [sys.executable, "-c", "from gemmbench.cli import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=200,
    )


def check_json(folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = gemmbench(folder, "check", "tiny.yaml", "--threads", "1", "--json", "-", *arguments)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def two(base: str, head: str) -> tuple[str, ...]:
    return ("--base-backend", planted(base), "--head-backend", planted(head))


def test_a_check_says_what_it_compared_and_keeps_every_sample(tmp_path: Path) -> None:
    code, data, text = check_json(tmp_path, *two("Honest", "Honest"), *ONE)
    assert set(data) == {"schema", "comparisons", "verdict", "notes"}
    (one,) = data["comparisons"]
    assert set(one) == KEYS
    assert (one["layer"], one["backend"]) == ("square", planted("Honest"))
    assert one["low"] <= one["estimate"] <= one["high"]
    assert "A frozen kernel against itself reads" in text
    with sqlite3.connect(tmp_path / "results" / "gemmbench.db") as db:
        found = db.execute("select layer, pairs, verdict from comparison order by id").fetchall()
        assert [row[0] for row in found] == ["square", "(control)"]
        pairs = db.execute(
            "select trial_id, count(distinct process) from sample join comparison "
            "on trial_id in (base_trial_id, head_trial_id) where layer = 'square' group by 1"
        ).fetchall()
        assert [count for _, count in pairs] == [one["pairs"]] * 2
        ended = db.execute("select exit_code from run").fetchall()
        assert ended == [(code,)]


def test_a_wrong_head_is_exit_five(tmp_path: Path) -> None:
    code, data, text = check_json(tmp_path, *two("Honest", "DropsLastTerm"))
    assert (code, data["verdict"], data["comparisons"]) == (5, "WRONG", [])
    assert "square" in text
    assert "not compared: head wrong" in text


def test_a_head_that_crashes_is_exit_six(tmp_path: Path) -> None:
    code, data, text = check_json(tmp_path, *two("Honest", "AbortsInRun"), *ONE)
    assert (code, data["verdict"]) == (6, "FAILED")
    assert "SIGABRT" in text


def test_a_head_that_does_its_work_a_hundred_times_is_a_regression(tmp_path: Path) -> None:
    code, data, text = check_json(tmp_path, *two("Honest", "Slow"), *ONE)
    (one,) = data["comparisons"]
    assert (code, one["verdict"]) == (1, "REGRESSED")
    assert "\nREGRESSED: " in text


KERNEL = """
from planted import {name} as MyGemm
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    (tmp_path / "tiny.yaml").write_text(SUITE)
    git("add", ".")
    git("commit", "-qm", "first")
    (tmp_path / "planted.py").write_text((TESTS / "planted.py").read_text())
    (tmp_path / "mine.py").write_text(KERNEL.format(name="Honest"))
    git("add", ".")
    git("commit", "-qm", "second")
    return tmp_path


MINE = ("--backend", "./mine.py:MyGemm", *ONE)


def test_a_kernel_file_is_compared_with_itself_at_a_revision(repository: Path) -> None:
    (repository / "mine.py").write_text(KERNEL.format(name="Slow"))
    code, data, text = check_json(repository, *MINE, "--base-rev", "main")
    assert (code, data["verdict"]) == (1, "REGRESSED")
    assert "Base is main (" in text
    listed = subprocess.run(
        ["git", "worktree", "list"], cwd=repository, check=True, capture_output=True, text=True
    )
    assert len(listed.stdout.splitlines()) == 1


def test_a_base_that_would_import_heads_own_code_is_no_baseline(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    editable = tmp_path_factory.mktemp("editable")  # leads to the checkout, like such an install
    place = f"import sys\nsys.path.append({str(repository)!r})\n"
    (editable / "sitecustomize.py").write_text(place)
    monkeypatch.syspath_prepend(str(editable))
    asked = ("--backend", "mine:MyGemm", *ONE, "--base-rev", "main~1")
    code, data, text = check_json(repository, *asked)
    assert (code, data["verdict"], data["comparisons"]) == (0, "NO_BASELINE", [])
    assert f"what is imported is {repository / 'mine.py'}" in text


@pytest.mark.parametrize(("option", "code"), [((), 0), (("--require-baseline",), 4)])
def test_the_first_run_without_a_base_succeeds_and_says_so(
    repository: Path, option: tuple[str, ...], code: int
) -> None:
    found, data, text = check_json(repository, *MINE, "--base-rev", "main~1", *option)
    assert (found, data["verdict"], data["comparisons"]) == (code, "NO_BASELINE", [])
    assert "mine.py does not exist at main~1" in text
    assert "Where there is no base, head was verified alone: 1 of 1 right" in text


@pytest.mark.parametrize(("name", "code"), [("DropsLastTerm", 5), ("AbortsInRun", 6)])
def test_a_first_run_of_a_head_that_is_wrong_or_crashes_is_not_green(
    repository: Path, name: str, code: int
) -> None:
    (repository / "mine.py").write_text(KERNEL.format(name=name))
    found, data, text = check_json(repository, *MINE, "--base-rev", "main~1")
    assert (found, [one["side"] for one in data["refusals"]]) == (code, ["base", "head"])
    assert "not compared: head" in text


def test_a_check_that_compares_nothing_is_not_green(tmp_path: Path) -> None:
    """No layer is computed by head, as where a gate names the wrong kernel."""
    asked = ("--base-backend", "blas", "--head-backend", "fft", *ONE, "--quiet")
    done = gemmbench(tmp_path, "check", "tiny.yaml", *asked)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("gemmbench: check: UNDECIDED: Nothing was compared: head ")
    with sqlite3.connect(tmp_path / "results" / "gemmbench.db") as db:
        assert db.execute("select exit_code from run").fetchall() == [(4,)]


def test_an_interpreter_with_numpy_alone_is_a_base(tmp_path: Path) -> None:
    venv.create(tmp_path / "other", with_pip=False, symlinks=True)
    packages = next((tmp_path / "other" / "lib").glob("python*/site-packages"))
    for found in Path(np.__file__).parent.parent.glob("numpy*"):
        (packages / found.name).symlink_to(found)
    python = str(tmp_path / "other" / "bin" / "python")
    backend = ("--backend", planted("Honest"), *ONE)
    _, data, text = check_json(tmp_path, *backend, "--base-python", python)
    assert data["comparisons"][0]["pairs"] >= 5
    assert "has no gemmbench, and is lent this one's" in text


def test_a_time_budget_that_is_too_short_leaves_all_undecided(tmp_path: Path) -> None:
    honest = two("Honest", "Honest")
    code, data, text = check_json(tmp_path, *honest, "--time-budget", "0.001", "--strict")
    assert (code, data["verdict"]) == (3, "UNDECIDED")
    assert all(one["pairs"] == 0 for one in data["comparisons"])
    assert all(one["estimate"] is None for one in data["comparisons"])
    assert "a frozen kernel" not in text.lower(), "nothing was measured of it"


def test_a_check_is_reported_to_github_as_annotations_and_a_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    asked = ("check", "tiny.yaml", *two("Honest", "Honest"), *ONE, "--time-budget", "0.001")
    done = gemmbench(tmp_path, *asked, "--format", "github")
    assert done.stdout.startswith("::warning title=UNDECIDED%3A square"), done.stderr
    assert "### gemmbench check: tiny: UNDECIDED" in (tmp_path / "summary.md").read_text()


def test_a_wrong_head_is_an_error_at_github_and_in_a_quiet_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    asked = ("check", "tiny.yaml", *two("Honest", "DropsLastTerm"), *ONE, "--format", "github")
    done = gemmbench(tmp_path, *asked, "--quiet")
    assert (done.returncode, done.stdout) == (5, "")
    assert "### gemmbench check: tiny: WRONG" in (tmp_path / "summary.md").read_text()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    done = gemmbench(tmp_path, *asked, "--json", "gate.json")
    assert done.returncode == 5
    assert "cannot be written" in done.stderr
    assert json.loads((tmp_path / "gate.json").read_text())["verdict"] == "WRONG"
    done = gemmbench(tmp_path, *asked)
    assert done.stdout.startswith("::error title=WRONG%3A square")


def test_a_check_that_could_not_compare_says_so_in_junit(tmp_path: Path) -> None:
    asked = ("check", "tiny.yaml", *two("Honest", "DropsLastTerm"), *ONE, "--format", "junit")
    done = gemmbench(tmp_path, *asked)
    assert done.returncode == 5
    suite = ElementTree.fromstring(done.stdout)[0]  # noqa: S314 - made by the code under test
    assert suite.get("failures") == "1"
    assert "Head gives a wrong result." in (suite.findtext("system-out") or "")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "not compared: head wrong" in failure.get("message", "")


def test_a_self_test_counts_false_alarms(tmp_path: Path) -> None:
    done = gemmbench(
        tmp_path, "aa", "tiny.yaml", "--backend", planted("Honest"), "--repeats", "2",
        "--threads", "1", "--json", "-", *ONE,
    )  # fmt: skip
    data = json.loads(done.stdout)
    assert done.returncode == 0
    assert len(data["comparisons"]) == 2
    assert all(set(one) == KEYS for one in data["comparisons"])
    assert "of 2 comparisons of identical code" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say what to compare with, in one way"),
        (("--base-rev", "a", "--base-python", "b"), "say what to compare with, in one way"),
        (("--base-rev", "main"), "say which code to compare"),
        (("--base-backend", "blas"), "are given together"),
        (("--base-rev", "a", "--backend", "blas", "--min-effect", "5"), "such as 5% or 0.05"),
        (("--base-python", "/nowhere", "--backend", "blas"), "not a Python that can be run"),
    ],
)
def test_misuse_is_one_line_and_exit_two(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = gemmbench(tmp_path, "check", "tiny.yaml", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()
