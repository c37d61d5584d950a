"""What a check found as JSON, JUnit XML, GitHub annotations and job summary, or as text.

Pure functions: values in, text out. Who is asked for which format, and where it is written, is
the command line's business. Nothing here needs a token, so a fork's pull request reads the same.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal
from xml.etree import ElementTree

from gemmbench.comparison import Comparison, GateVerdict
from gemmbench.trial import TrialState
from gemmbench.ways import Refusal
from gemmbench_results.report.comparisons import (
    SUITE_WORDS,
    CheckReport,
    by_severity,
    headline,
    refusal_sentence,
    report_text,
    sentence,
)
from gemmbench_results.report.escape import (
    command_data,
    command_property,
    log_line,
    markdown_cell,
    one_line,
    xml_text,
)
from gemmbench_results.report.render import csv_text

CSV_COLUMNS = (
    "layer", "backend", "estimate", "low", "high", "smallest_visible", "verdict", "pairs",
    "seconds_measured", "base", "head", "side", "reason",
)  # fmt: skip
ComparisonFormat = Literal["table", "markdown", "csv", "json", "junit", "github"]

SCHEMA = 1
MOST_ANNOTATIONS = 10  # of each level: GitHub shows no more of one step
LEVELS = {GateVerdict.REGRESSED: "error", GateVerdict.UNDECIDED: "warning"}  # others: none
REFUSED = {TrialState.WRONG: "failure", TrialState.FAILED: "error"}  # of head; else skipped
VERDICTS = {GateVerdict.REGRESSED: "failure", GateVerdict.UNDECIDED: "skipped"}


def render(report: CheckReport, format: ComparisonFormat) -> str:  # noqa: A002
    """The report in one of the formats, without a newline at the end."""
    if format == "json":
        return json.dumps(report_data(report), indent=2)
    if format == "csv":
        return report_csv(report)
    if format == "junit":
        return report_junit(report)
    if format == "github":
        return "\n".join(github_log(report))
    return report_text(report, format=format)


def step_summary(report: CheckReport) -> str:
    """What goes into GitHub's job summary: a heading with the verdict, and the Markdown table."""
    heading = f"### gemmbench check: {markdown_cell(report.suite)}: {markdown_cell(report.verdict)}"
    return f"{heading}\n\n{report_text(report, format='markdown')}\n"


def report_data(report: CheckReport) -> dict[str, Any]:
    """JSON-able data: comparisons as `comparisons_data`, and refusals and notes if there are."""
    refusals = [
        {
            "layer": one.layer,
            "backend": one.backend,
            "side": one.side,
            "state": str(one.state),
            "reason": one.reason,
        }
        for one in report.refusals
    ]
    return {
        **comparisons_data(report.comparisons, report.verdict),
        **({"refusals": refusals} if refusals else {}),
        **({"notes": list(report.notes)} if report.notes else {}),
    }


def comparisons_data(comparisons: Sequence[Comparison], verdict: str) -> dict[str, Any]:
    """JSON-able data, in the order measured; effects are fractions, None where not finite."""
    return {
        "schema": SCHEMA,
        "comparisons": [_data(comparison) for comparison in comparisons],
        "verdict": verdict,
    }


def report_csv(report: CheckReport) -> str:
    """A header, and a row for each comparison and for what was not compared.

    The latter has its state, such as WRONG, as its verdict, and the side and reason.
    """
    data = report_data(report)
    refused = [
        {("verdict" if name == "state" else name): value for name, value in one.items()}
        for one in data.get("refusals", [])
    ]
    return csv_text([*data["comparisons"], *refused], CSV_COLUMNS).rstrip("\n")


def report_junit(report: CheckReport) -> str:
    """JUnit XML with a test case a comparison and a refusal.

    REGRESSED and a wrong head are failures, a head that failed is an error; UNDECIDED, what has
    no base and what head does not support are skipped.
    Source: junit-10.xsd of Jenkins' xunit plugin, the strictest of the schemas in use.
    """
    cases = [_compared_case(one, report.suite) for one in report.comparisons]
    cases += [_refused_case(one, report.suite) for one in report.refusals]
    counts = {
        "tests": str(len(cases)),
        "failures": str(_having(cases, "failure")),
        "errors": str(_having(cases, "error")),
        "skipped": str(_having(cases, "skipped")),
        "time": _seconds(sum(one.seconds_measured for one in report.comparisons)),
    }
    name = xml_text(f"gemmbench check {report.suite}")
    root = ElementTree.Element("testsuites")
    element = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
    element.extend(cases)
    said = "\n".join([headline(report), *report.notes])
    ElementTree.SubElement(element, "system-out").text = xml_text(said)
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'


@dataclass(frozen=True, slots=True)
class Annotation:
    """One box that GitHub shows beside a job."""

    level: str  # "error" or "warning"
    title: str
    message: str

    def command(self) -> str:
        """The workflow command that makes it."""
        title = command_property(one_line(self.title))
        return f"::{self.level} title={title}::{command_data(one_line(self.message))}"


def github_log(report: CheckReport) -> Iterator[str]:
    """Annotations for what a reader must act on, then the notes and the summary as plain lines.

    Of more than GitHub shows of a level, the last says how many there are.
    """
    found = list(_annotations(report))
    for level in ("error", "warning"):
        own = [one for one in found if one.level == level]
        shown = own if len(own) <= MOST_ANNOTATIONS else own[: MOST_ANNOTATIONS - 1]
        yield from (one.command() for one in shown)
        if len(shown) < len(own):
            more = f"{len(own) - len(shown)} more are in the job summary"
            yield Annotation(level, f"gemmbench check: {report.suite}", more).command()
    yield from (log_line(note) for note in report.notes)
    yield log_line(headline(report))


def _annotations(report: CheckReport) -> Iterator[Annotation]:
    """The gravest first within a level."""
    if report.verdict == "TOO_NOISY":
        title = f"{report.verdict}: {report.suite}"
        yield Annotation("warning", title, SUITE_WORDS[report.verdict])
    for refusal in report.refusals:
        level = "error" if _refused_as(refusal) != "skipped" else "warning"
        title = f"{refusal.state}: {refusal.layer} ({refusal.backend})"
        yield Annotation(level, title, refusal_sentence(refusal))
    for one in by_severity(report.comparisons):
        if one.verdict in LEVELS:
            title = f"{one.verdict}: {one.layer} ({one.backend})"
            yield Annotation(LEVELS[one.verdict], title, sentence(one))


def _refused_as(refusal: Refusal) -> str:
    """The JUnit element of a refusal. Only head can fail a check."""
    return REFUSED.get(refusal.state, "skipped") if refusal.side == "head" else "skipped"


def _data(one: Comparison) -> dict[str, Any]:
    effects = {
        name: value if isfinite(value) else None
        for name in ("estimate", "low", "high", "smallest_visible")
        for value in [getattr(one, name)]
    }
    return {
        "layer": one.layer,
        "backend": one.backend,
        **effects,
        "verdict": str(one.verdict),
        "pairs": one.pairs,
        "seconds_measured": one.seconds_measured,
        "base": one.base,
        "head": one.head,
    }


def _compared_case(one: Comparison, suite: str) -> ElementTree.Element:
    element = _test_case(suite, f"{one.layer} ({one.backend})", one.seconds_measured)
    if one.verdict in VERDICTS:
        _outcome(element, VERDICTS[one.verdict], str(one.verdict), sentence(one))
    text = xml_text(f"{one.verdict}: {sentence(one)}")
    ElementTree.SubElement(element, "system-out").text = text
    return element


def _refused_case(one: Refusal, suite: str) -> ElementTree.Element:
    element = _test_case(suite, f"{one.layer} ({one.backend})", 0.0)
    _outcome(element, _refused_as(one), str(one.state), refusal_sentence(one))
    return element


def _test_case(suite: str, name: str, seconds: float) -> ElementTree.Element:
    attributes = {
        "classname": xml_text(f"gemmbench.{suite}"),
        "name": xml_text(name),
        "time": _seconds(seconds),
    }
    return ElementTree.Element("testcase", attributes)


def _outcome(case: ElementTree.Element, tag: str, kind: str, message: str) -> None:
    """Say in `case` how it ended; a skipped one has no text of its own."""
    made = ElementTree.SubElement(case, tag, {"message": xml_text(message), "type": kind})
    if tag != "skipped":
        made.text = xml_text(message)


def _having(cases: Sequence[ElementTree.Element], tag: str) -> int:
    return sum(case.find(tag) is not None for case in cases)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"
