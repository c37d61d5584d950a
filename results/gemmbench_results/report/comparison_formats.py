"""Comparisons of a base and a head as text, Markdown, JSON, JUnit XML and GitHub annotations.

Pure functions: values in, text out. Who is asked for which format, and where it is written, is
the command line's business. Nothing here needs a token, so a fork's pull request reads the same.
"""

import json
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any, Literal
from xml.etree import ElementTree

from tabulate import tabulate

from gemmbench.comparison import Comparison, GateVerdict
from gemmbench_results.report.escape import (
    command_data,
    command_property,
    log_line,
    markdown_cell,
    one_line,
    xml_text,
)
from gemmbench_results.report.table import STYLES, Format

ComparisonFormat = Literal["table", "markdown", "json", "junit", "github"]

SCHEMA = 1
MOST_ANNOTATIONS = 10  # of each level: GitHub shows no more of one step
LEVELS = {GateVerdict.REGRESSED: "error", GateVerdict.UNDECIDED: "warning"}  # others: none
NOT_MEASURED = "not measured"
COLUMNS = {
    "layer": "left",
    "backend": "left",
    "change": "right",
    "95 % interval": "left",
    "verdict": "left",
    "would see": "right",
    "pairs": "right",
    "seconds": "right",
}
FOOTNOTE = (
    "change: head against base, + is slower; would see: the smallest slowdown that would have "
    "been flagged 9 times in 10; pairs: of fresh processes"
)


def render(
    comparisons: Sequence[Comparison],
    format: ComparisonFormat,  # noqa: A002  the command line's own word
    *,
    suite: str,
    verdict: str = "",
    notes: Sequence[str] = (),
) -> str:
    """The comparisons in one of the formats, without a newline at the end.

    `verdict` is the suite's (default: the worst of them), `notes` are sentences that a reader
    must not miss, such as that the machine was too noisy.
    """
    verdict = verdict or str(worst(comparisons))
    if format == "json":
        return json.dumps(comparisons_data(comparisons, verdict, notes), indent=2)
    if format == "junit":
        return comparisons_junit(comparisons, suite, notes)
    if format == "github":
        return "\n".join(github_annotations(comparisons, suite, notes))
    return comparisons_text(comparisons, notes, format=format)


def worst(comparisons: Sequence[Comparison]) -> GateVerdict:
    """The verdict that stands first in `GateVerdict`; OK without any comparison."""
    found = {comparison.verdict for comparison in comparisons}
    return next((verdict for verdict in GateVerdict if verdict in found), GateVerdict.OK)


def comparisons_text(
    comparisons: Sequence[Comparison],
    notes: Sequence[str] = (),
    *,
    format: Format = "table",  # noqa: A002
) -> str:
    """A sentence, the notes, and a table with the worst first."""
    escape = markdown_cell if format == "markdown" else one_line
    parts = [escape(summary_sentence(comparisons)), *(escape(note) for note in notes)]
    if comparisons:
        rows = [[escape(cell) for cell in _row(one)] for one in by_severity(comparisons)]
        table = tabulate(
            rows,
            headers=list(COLUMNS),
            tablefmt=STYLES[format],
            disable_numparse=True,
            colalign=list(COLUMNS.values()),
        )
        parts += ["\n".join(line.rstrip() for line in table.splitlines()), FOOTNOTE]
    return "\n\n".join(parts)


def step_summary(comparisons: Sequence[Comparison], suite: str, notes: Sequence[str] = ()) -> str:
    """What goes into GitHub's job summary: a heading and the Markdown table."""
    heading = f"### gemmbench check: {markdown_cell(suite)}: {worst(comparisons)}"
    return f"{heading}\n\n{comparisons_text(comparisons, notes, format='markdown')}\n"


def comparisons_data(
    comparisons: Sequence[Comparison], verdict: str, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """JSON-able data, in the order measured; effects are fractions, None where not finite."""
    return {
        "schema": SCHEMA,
        "comparisons": [_data(comparison) for comparison in comparisons],
        "verdict": verdict,
        **({"notes": list(notes)} if notes else {}),
    }


def comparisons_junit(
    comparisons: Sequence[Comparison], suite: str, notes: Sequence[str] = ()
) -> str:
    """JUnit XML with a test case a comparison: REGRESSED is a failure, UNDECIDED is skipped.

    Source: junit-10.xsd of Jenkins' xunit plugin, the strictest of the schemas in use.
    """
    failed = sum(1 for one in comparisons if one.verdict is GateVerdict.REGRESSED)
    skipped = sum(1 for one in comparisons if one.verdict is GateVerdict.UNDECIDED)
    counts = {
        "tests": str(len(comparisons)),
        "failures": str(failed),
        "errors": "0",
        "skipped": str(skipped),
        "time": _seconds(sum(one.seconds_measured for one in comparisons)),
    }
    name = xml_text(f"gemmbench check {suite}")
    root = ElementTree.Element("testsuites")
    element = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
    for one in comparisons:
        element.append(_test_case(one, suite))
    if notes:
        ElementTree.SubElement(element, "system-out").text = xml_text("\n".join(notes))
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'


def github_annotations(
    comparisons: Sequence[Comparison], suite: str, notes: Sequence[str] = ()
) -> Iterator[str]:
    """Workflow commands: an error a regression, a warning an undecided layer, then a sentence.

    Of more than GitHub shows, the last says how many there are.
    """
    for note in notes:
        title = command_property(one_line(f"gemmbench check {suite}"))
        yield f"::warning title={title}::{command_data(one_line(note))}"
    for verdict, level in LEVELS.items():
        found = [one for one in by_severity(comparisons) if one.verdict is verdict]
        shown = found if len(found) <= MOST_ANNOTATIONS else found[: MOST_ANNOTATIONS - 1]
        for one in shown:
            title = command_property(one_line(f"{verdict}: {one.layer} ({one.backend})"))
            yield f"::{level} title={title}::{command_data(one_line(sentence(one)))}"
        if len(shown) < len(found):
            more = f"{len(found) - len(shown)} more are in the job summary"
            yield f"::{level} title={command_property(one_line(f'{verdict}: {suite}'))}::{more}"
    yield log_line(summary_sentence(comparisons))


def by_severity(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The worst verdicts first, and among equals the largest change; unmeasured ones last."""
    order = list(GateVerdict)

    def severity(one: Comparison) -> tuple[int, float]:
        size = abs(one.estimate) if isfinite(one.estimate) else -1.0
        return order.index(one.verdict), -size

    return sorted(comparisons, key=severity)


def summary_sentence(comparisons: Sequence[Comparison]) -> str:
    """As '1 of 8 REGRESSED: conv2 (numba) +6.2 %; 1 UNDECIDED; 6 OK.'."""
    if not comparisons:
        return "Nothing was compared."
    clauses: list[str] = []
    for verdict in GateVerdict:
        found = [one for one in by_severity(comparisons) if one.verdict is verdict]
        if not found:
            continue
        count = f"{len(found)} of {len(comparisons)}" if not clauses else str(len(found))
        told = verdict in (GateVerdict.REGRESSED, GateVerdict.IMPROVED)
        named = [f"{one.layer} ({one.backend}) {change_text(one)}" for one in found[:3]]
        more = [f"{len(found) - 3} more"] if len(found) > 3 else []
        clauses.append(f"{count} {verdict}" + (f": {', '.join(named + more)}" if told else ""))
    return f"{'; '.join(clauses)}."


def sentence(one: Comparison) -> str:
    """'+6.2 % [+4.9, +7.5], main → work, 10 process pairs; would see 1.9 %'."""
    if not _measured(one):
        return f"{NOT_MEASURED} in time, {one.base} → {one.head}"
    return (
        f"{change_text(one)} {interval_text(one)}, {one.base} → {one.head}, "
        f"{one.pairs} process pairs; would see {_percent(one.smallest_visible)}"
    )


def change_text(one: Comparison) -> str:
    """'+6.2 %': how much slower the head is."""
    return f"{100 * one.estimate:+.1f} %" if isfinite(one.estimate) else NOT_MEASURED


def interval_text(one: Comparison) -> str:
    """'[+4.9, +7.5]' in percent; an end that is not known is '?'."""
    ends = (f"{100 * end:+.1f}" if isfinite(end) else "?" for end in (one.low, one.high))
    return f"[{', '.join(ends)}]"


def _row(one: Comparison) -> list[str]:
    measured = _measured(one)
    return [
        one.layer,
        one.backend,
        change_text(one) if measured else NOT_MEASURED,
        interval_text(one) if measured else "",
        str(one.verdict),
        _percent(one.smallest_visible) if measured else "",
        str(one.pairs),
        f"{one.seconds_measured:.1f}",
    ]


def _measured(one: Comparison) -> bool:
    return one.pairs > 0 and isfinite(one.estimate)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if isfinite(share) else "?"


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


def _test_case(one: Comparison, suite: str) -> ElementTree.Element:
    attributes = {
        "classname": xml_text(f"gemmbench.{suite}"),
        "name": xml_text(f"{one.layer} ({one.backend})"),
        "time": _seconds(one.seconds_measured),
    }
    element = ElementTree.Element("testcase", attributes)
    message = {"message": xml_text(sentence(one)), "type": str(one.verdict)}
    if one.verdict is GateVerdict.REGRESSED:
        ElementTree.SubElement(element, "failure", message).text = xml_text(sentence(one))
    elif one.verdict is GateVerdict.UNDECIDED:
        ElementTree.SubElement(element, "skipped", message)
    text = xml_text(f"{one.verdict}: {sentence(one)}")
    ElementTree.SubElement(element, "system-out").text = text
    return element


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"
