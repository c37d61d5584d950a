"""Comparisons in every format are as golden, and no name breaks a format.

GEMMBENCH_UPDATE_GOLDEN=1 pytest writes the golden files anew.
"""

import json
from math import nan
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report_table import check_golden

from gemmbench.cli.formats import print_comparisons
from gemmbench.comparison import Comparison, GateVerdict
from gemmbench.errors import GemmbenchError
from gemmbench_results.report.comparison_formats import (
    MOST_ANNOTATIONS,
    comparisons_text,
    github_annotations,
    render,
    step_summary,
    worst,
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
NOTES = ["The negative control differs from itself: the machine is too noisy."]
ENDINGS = {"table": "txt", "markdown": "md", "json": "json", "junit": "xml", "github": "log"}


@pytest.mark.parametrize("name", ENDINGS)
def test_each_format_is_as_golden(name):
    text = render(COMPARISONS, name, suite="alexnet", notes=NOTES)
    check_golden(f"comparisons.{ENDINGS[name]}", text + "\n")


def test_the_step_summary_is_as_golden():
    check_golden("step_summary.md", step_summary(COMPARISONS, "alexnet", NOTES))


def test_nothing_compared_is_said_in_every_format():
    assert worst([]) is GateVerdict.OK
    assert comparisons_text([]) == "Nothing was compared."
    assert list(github_annotations([], "s")) == ["Nothing was compared."]
    assert json.loads(render([], "json", suite="s")) == {
        "schema": 1, "comparisons": [], "verdict": "OK",
    }  # fmt: skip
    suite = xml(render([], "junit", suite="s"))[0]
    assert (suite.get("tests"), suite.get("failures")) == ("0", "0")


def test_a_verdict_of_the_whole_suite_goes_before_that_of_its_layers():
    text = render(COMPARISONS, "json", suite="s", verdict="TOO_NOISY")
    assert json.loads(text)["verdict"] == "TOO_NOISY"


def named(layer: str, verdict: GateVerdict = GateVerdict.REGRESSED) -> Comparison:
    return Comparison(layer, layer, 0.1, 0.05, 0.2, 0.02, verdict, 10, 5.0, layer, layer)


names = st.text(max_size=30) | st.lists(
    st.sampled_from(["::error::", "##[add-mask]", "\n", "\r", "|", "<", ">", "&", "%", "\x1b[2J",
                     "\x00", "`", "]]>", "a", ",", "\u2028", "@all"]), max_size=8
).map("".join)  # fmt: skip


def xml(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text.encode())  # noqa: S314  written by the code under test


@given(names)
def test_no_name_breaks_junit(name):
    case = xml(render([named(name)], "junit", suite=name))[0][0]
    assert [child.tag for child in case] == ["failure", "system-out"]
    assert case.get("name", "").count("(") >= 1


@given(names)
def test_no_name_adds_a_workflow_command_or_ends_one(name):
    lines = render([named(name)], "github", suite=name, notes=[name]).split("\n")
    assert [line.partition(" ")[0] for line in lines[:2]] == ["::warning", "::error"]
    assert len(lines) == 3
    for line in lines[:2]:
        head, _, message = line[2:].partition("::")
        assert head.count("=") >= 1
        assert "," not in head
        assert not {"\r", "\x1b", "\x00"} & set(head + message)
    assert not lines[2].lstrip().startswith("::")
    assert "##[" not in lines[2]


@given(names)
def test_no_name_breaks_a_markdown_table_or_becomes_markup(name):
    lines = comparisons_text([named(name)], format="markdown").split("\n")
    row = lines[4].replace("\\\\", "").replace("\\|", "")
    assert row.count("|") == lines[2].count("|")
    assert "<" not in row.replace("\\<", "")
    assert "`" not in row.replace("\\`", "")
    assert len(lines) == 7


@given(names)
def test_no_name_adds_a_line_to_the_table_or_moves_the_cursor(name):
    text = comparisons_text([named(name)])
    assert len(text.splitlines()) == 7
    assert "\x1b" not in text


def test_a_log_line_is_never_a_command():
    assert not log_line("::error::x").startswith("::")
    assert not log_line("\n ::error::x").lstrip().startswith("::")
    assert "##[" not in log_line("a ##[error]b")
    assert log_line("plain: 5 % :: x") == "plain: 5 % :: x"


def test_no_more_annotations_than_github_shows_and_the_last_says_so():
    many = [named(f"l{i}") for i in range(30)] + [named("u", GateVerdict.UNDECIDED)]
    lines = list(github_annotations(many, "s"))
    errors = [line for line in lines if line.startswith("::error")]
    assert len(errors) == MOST_ANNOTATIONS
    assert errors[-1].endswith("::21 more are in the job summary")
    assert sum(line.startswith("::warning") for line in lines) == 1
    exact = list(github_annotations(many[:MOST_ANNOTATIONS], "s"))
    assert len(exact) == MOST_ANNOTATIONS + 1


def test_a_test_case_that_reads_junit_agrees():
    junitparser = pytest.importorskip("junitparser", reason="junitparser is not installed")
    found = junitparser.JUnitXml.fromstring(render(COMPARISONS, "junit", suite="s").encode())
    (suite,) = found
    assert (suite.tests, suite.failures, suite.skipped) == (4, 1, 1)
    results = [[type(result).__name__ for result in case.result] for case in suite]
    assert results == [[], ["Failure"], ["Skipped"], []]


def test_github_output_is_appended_to_the_job_summary(tmp_path, monkeypatch, capsys):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    print_comparisons(COMPARISONS, "github", suite="alexnet")
    assert summary.read_text() == f"before\n{step_summary(COMPARISONS, 'alexnet')}\n"
    assert capsys.readouterr().out.startswith("::error ")
    print_comparisons(COMPARISONS, "table", suite="alexnet")
    assert summary.read_text().count("###") == 1
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    with pytest.raises(GemmbenchError, match=r"GITHUB_STEP_SUMMARY: .* cannot be written"):
        print_comparisons(COMPARISONS, "github", suite="alexnet")
