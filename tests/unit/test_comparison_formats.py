"""Comparisons in every format are as golden, and no name breaks a format.

GEMMBENCH_UPDATE_GOLDEN=1 pytest writes the golden files anew.
"""

import csv
import io
import json
from dataclasses import replace
from math import nan
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report_table import check_golden

from gemmbench.cli.formats import print_report
from gemmbench.comparison import Comparison, GateVerdict
from gemmbench.trial import TrialState
from gemmbench.ways import Refusal
from gemmbench_results.report.comparison_formats import (
    MOST_ANNOTATIONS,
    github_log,
    render,
    step_summary,
)
from gemmbench_results.report.comparisons import (
    NONE_IN_COMMON,
    CheckReport,
    headline,
    report_text,
)
from gemmbench_results.report.escape import log_line

COMPARISONS = [
    Comparison("conv1", "numba im2col", 0.012, 0.001, 0.03, 0.019, GateVerdict.OK, 10, 4.9),
    Comparison(
        'con"v2\n::error::<b>|[x](y) & 5%', "./my`k.py:M, b", 0.062, 0.049, 0.075, 0.019,
        GateVerdict.REGRESSED, 10, 5.1, "main", "work",
    ),
    Comparison("fc6", "numba gemm", nan, nan, nan, nan, GateVerdict.UNDECIDED, 0, 0.0),
    Comparison("fc7", "numba gemm", -0.05, -0.06, -0.04, 0.01, GateVerdict.IMPROVED, 10, 3.0),
]  # fmt: skip
NOTES = ["Base is main, checked out in a worktree of its own."]
REFUSALS = [
    Refusal("conv3", "numba im2col", "head", TrialState.WRONG, "is off by 1"),
    Refusal("conv4", "numba im2col", "head", TrialState.FAILED, "killed by SIGSEGV"),
    Refusal("conv5", "numba im2col", "head", TrialState.SKIPPED, "computes gemm only"),
    Refusal("fc8", "numba gemm", "base", TrialState.SKIPPED, "k.py does not exist at main"),
]
ENDINGS = {"table": "txt", "markdown": "md", "json": "json", "junit": "xml", "github": "log"}
FULL = CheckReport("alexnet", COMPARISONS, "WRONG", REFUSALS, NOTES)


@pytest.mark.parametrize("name", ENDINGS)
def test_each_format_is_as_golden(name):
    check_golden(f"comparisons.{ENDINGS[name]}", render(FULL, name) + "\n")


def test_csv_has_a_row_for_what_was_not_compared_too():
    rows = list(csv.DictReader(io.StringIO(render(FULL, "csv"))))
    assert [row["layer"] for row in rows] == [one.layer for one in [*COMPARISONS, *REFUSALS]]
    told = [(row["verdict"], row["side"], row["reason"]) for row in rows]
    assert told[1] == ("REGRESSED", "", "")
    assert told[4] == ("WRONG", "head", "is off by 1")
    assert told[7] == ("SKIPPED", "base", "k.py does not exist at main")
    assert rows[7]["estimate"] == ""


def test_csv_has_its_header_also_where_nothing_was_compared():
    (header,) = csv.reader(io.StringIO(render(CheckReport("s", [], "UNDECIDED"), "csv")))
    (full, *_) = csv.reader(io.StringIO(render(FULL, "csv")))
    assert header == full
    assert header[:2] == ["layer", "backend"]


def test_the_step_summary_is_as_golden():
    check_golden("step_summary.md", step_summary(FULL))


@pytest.mark.parametrize(
    ("verdict", "state", "told"),
    [
        ("NO_BASELINE", TrialState.SKIPPED, "there is no baseline yet."),
        ("NO_BASELINE", TrialState.FAILED, "base is wrong or fails. Compare with one that works."),
    ],
)
def test_a_base_that_broke_is_told_from_one_that_is_not_there_yet(verdict, state, told):
    refusal = Refusal("fc", "numba", "base", state, "why")
    assert headline(CheckReport("s", [], verdict, [refusal])).endswith(told)


def test_what_there_was_no_time_for_is_told_with_the_remedy():
    unmeasured = replace(COMPARISONS[0], pairs=0, estimate=nan, verdict=GateVerdict.UNDECIDED)
    told = headline(CheckReport("s", [unmeasured], "UNDECIDED"))
    assert told == "UNDECIDED: Nothing was measured in time. Raise --budget."
    assert "in time" not in headline(CheckReport("s", [unmeasured], "FAILED"))


def test_what_noise_leaves_undecided_is_told_with_the_remedy():
    noisy = replace(COMPARISONS[0], verdict=GateVerdict.UNDECIDED)
    told = headline(CheckReport("s", [noisy], "UNDECIDED"))
    assert told.startswith("UNDECIDED: 1 of 1 undecided. To decide, raise --budget")
    assert told.endswith("see gemmbench doctor.")
    assert "doctor" not in headline(CheckReport("s", [*COMPARISONS, noisy], "REGRESSED"))


@pytest.mark.parametrize("verdict", ["WRONG", "FAILED", "TOO_NOISY", "NO_BASELINE", "UNDECIDED"])
def test_the_job_summary_is_headed_by_the_verdict_of_the_suite(verdict):
    for comparisons in ([], COMPARISONS[:1]):
        text = step_summary(CheckReport("s", comparisons, verdict))
        assert text.startswith(f"### gemmbench check: s: {verdict}\n".replace("_", "\\_"))


def test_nothing_compared_is_said_in_every_format():
    nothing = CheckReport("s", [], "UNDECIDED")
    line = f"UNDECIDED: {NONE_IN_COMMON}"
    assert report_text(nothing) == line
    assert list(github_log(nothing)) == [line]
    assert json.loads(render(nothing, "json")) == {
        "schema": 1, "comparisons": [], "verdict": "UNDECIDED",
    }  # fmt: skip
    suite = xml(render(nothing, "junit"))[0]
    assert (suite.get("tests"), suite.get("failures")) == ("0", "0")


@pytest.mark.parametrize(
    ("side", "state", "level", "element"),
    [
        ("head", TrialState.WRONG, "error", "failure"),
        ("head", TrialState.FAILED, "error", "error"),
        ("head", TrialState.SKIPPED, "warning", "skipped"),
        ("base", TrialState.WRONG, "warning", "skipped"),
        ("base", TrialState.FAILED, "warning", "skipped"),
        ("base", TrialState.SKIPPED, "warning", "skipped"),
    ],
)
def test_what_was_not_compared_is_as_grave_as_its_side_and_state(side, state, level, element):
    refused = CheckReport("s", [], "X", [Refusal("fc6", "k", side, state, "why")])
    assert next(github_log(refused)).startswith(f"::{level} title={state}%3A fc6 (k)::fc6")
    suite = xml(render(refused, "junit"))[0]
    names = ("failure", "error", "skipped")
    assert [child.tag for child in suite[0]] == [element]
    counts = [suite.get(name) for name in ("failures", "errors", "skipped")]
    assert counts == ["1" if name == element else "0" for name in names]


def test_what_is_only_good_to_know_is_no_annotation():
    lines = list(github_log(CheckReport("s", COMPARISONS[:1], "OK", (), NOTES * 20)))
    assert not any(line.startswith("::") for line in lines)
    assert lines.count(NOTES[0]) == 20


def test_too_much_noise_is_one_warning():
    first, *rest = github_log(CheckReport("s", COMPARISONS[:1], "TOO_NOISY", (), NOTES))
    assert first.startswith("::warning title=TOO_NOISY%3A s::No verdict: a frozen kernel differs")
    assert not any(line.startswith("::") for line in rest)


def named(layer: str, verdict: GateVerdict = GateVerdict.REGRESSED) -> Comparison:
    return Comparison(layer, layer, 0.1, 0.05, 0.2, 0.02, verdict, 10, 5.0, layer, layer)


def single(name: str) -> CheckReport:
    refusal = Refusal(name, name, "head", TrialState.WRONG, name)
    return CheckReport(name, [named(name)], "REGRESSED", [refusal], [name])


names = st.text(max_size=30) | st.lists(
    st.sampled_from(["::error::", "##[add-mask]", "\n", "\r", "|", "<", ">", "&", "%", "\x1b[2J",
                     "\x00", "`", "]]>", "a", ",", "\u2028", "@all"]), max_size=8
).map("".join)  # fmt: skip


def xml(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text.encode())  # noqa: S314  written by the code under test


@given(names)
def test_no_name_breaks_junit(name):
    case, refused = xml(render(single(name), "junit"))[0][:2]
    assert [child.tag for child in case] == ["failure", "system-out"]
    assert [child.tag for child in refused] == ["failure"]
    assert case.get("name", "").count("(") >= 1


@given(names)
def test_no_name_adds_a_workflow_command_or_ends_one(name):
    lines = render(single(name), "github").split("\n")
    assert len(lines) == 4
    for line in lines[:2]:
        assert line.partition(" ")[0] == "::error"
        head, _, message = line[2:].partition("::")
        assert head.count("=") >= 1
        assert "," not in head
        assert not {"\r", "\x1b", "\x00"} & set(head + message)
    for line in lines[2:]:
        assert not line.lstrip().startswith("::")
        assert "##[" not in line


@given(names)
def test_no_name_breaks_a_markdown_table_or_becomes_markup(name):
    lines = report_text(single(name), format="markdown").split("\n")
    row = lines[4].replace("\\\\", "").replace("\\|", "")
    assert row.count("|") == lines[2].count("|")
    assert "<" not in row.replace("\\<", "")
    assert "`" not in row.replace("\\`", "")
    assert len(lines) == 11


@given(names)
def test_no_name_adds_a_line_to_the_table_or_moves_the_cursor(name):
    text = report_text(single(name))
    assert len(text.split("\n")) == 11
    assert "\x1b" not in text


def test_a_log_line_is_never_a_command():
    assert not log_line("::error::x").startswith("::")
    assert not log_line("\n ::error::x").lstrip().startswith("::")
    assert "##[" not in log_line("a ##[error]b")
    assert log_line("plain: 5 % :: x") == "plain: 5 % :: x"


def test_no_more_annotations_than_github_shows_and_the_last_says_so():
    many = [named(f"l{i}") for i in range(30)] + [named("u", GateVerdict.UNDECIDED)]
    refusals = [
        Refusal("w", "k", "base", TrialState.SKIPPED, "none") for _ in range(MOST_ANNOTATIONS)
    ]
    lines = list(github_log(CheckReport("s", many, "TOO_NOISY", refusals)))
    for level, more in (("error", 21), ("warning", 3)):
        found = [line for line in lines if line.startswith(f"::{level}")]
        assert len(found) == MOST_ANNOTATIONS
        assert found[-1].endswith(f"::{more} more are in the job summary")
    exact = list(github_log(CheckReport("s", many[:MOST_ANNOTATIONS], "REGRESSED")))
    assert len(exact) == MOST_ANNOTATIONS + 1


def test_a_test_case_that_reads_junit_agrees():
    junitparser = pytest.importorskip("junitparser", reason="junitparser is not installed")
    (suite,) = junitparser.JUnitXml.fromstring(render(FULL, "junit").encode())
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (8, 2, 1, 3)
    results = [[type(result).__name__ for result in case.result] for case in suite]
    compared = [[], ["Failure"], ["Skipped"], []]
    assert results == [*compared, ["Failure"], ["Error"], ["Skipped"], ["Skipped"]]


def test_github_output_is_appended_to_the_job_summary(tmp_path, monkeypatch, capsys):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    print_report(FULL, "github")
    assert summary.read_text() == f"before\n{step_summary(FULL)}\n"
    assert capsys.readouterr().out.startswith("::error ")
    print_report(FULL, "table")
    assert summary.read_text().count("###") == 1
    capsys.readouterr()
    print_report(FULL, "github", quiet=True)
    assert summary.read_text().count("###") == 2
    assert capsys.readouterr().out == ""


def test_a_job_summary_that_cannot_be_written_is_said_and_no_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    print_report(FULL, "github")
    assert "GITHUB_STEP_SUMMARY" in capsys.readouterr().err
