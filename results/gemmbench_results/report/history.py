"""A history as a table, Markdown, CSV or JSON. It says what happened, and is never a gate."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from math import log
from statistics import median
from typing import Any

from gemmbench.changepoints import FEWEST
from gemmbench_results.export.entries import contender_name
from gemmbench_results.history import ROOF, Change, Group, Series
from gemmbench_results.report.escape import one_line
from gemmbench_results.report.render import TextFormat, prose, table_text
from gemmbench_results.report.table import digits, seconds_text

BARS = "▁▂▃▄▅▆▇█"
VALUE_DIGITS = 4
DRAWN = 24  # the newest values that are drawn
FLAT = 0.02  # ln ratio; a smaller range is drawn as level, or noise would look like a story
SHOWN_FACTS = ("CPU", "microarchitecture", "cores", "BLAS", "BLAS kernel", "numpy", "numba",
               "cupy-cuda12x", "cupy-cuda13x", "GPU", "GPU driver", "threads", "cache", "fill",
               "software")  # fmt: skip
NEVER_A_GATE = (
    "A history informs; it decides nothing. To compare two versions, run 'gemmbench check'."
)

COLUMNS = (
    "suite", "layer", "contender", "against", "runs", "median", "latest", "time", "history",
    "steps",
)  # fmt: skip
RIGHT = {"runs", "median", "latest"}
POINT = ("run", "started_at", "seconds", "value", "tuned", "config", "source_hash", "library")
SERIES = ("suite", "layer", "shape", "dtype")
CSV_COLUMNS = ("fingerprint", *SERIES, "contender", "reference", *POINT, "step_p_value")


def history_text(
    groups: Sequence[Group],
    *,
    format: TextFormat = "table",  # noqa: A002  the command line's own word
) -> str:
    """The groups one after another, each with how it differs from the one before."""
    parts = [part for group in groups for part in _group(group, format)]
    return "\n\n".join([*parts, "\n".join(_notes(groups))])


def history_csv(groups: Sequence[Group]) -> str:
    """One line a run and contender; `step_p_value` is filled where a step begins."""
    target = io.StringIO()
    writer = csv.DictWriter(target, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for group in groups:
        for series in group.series:
            writer.writerows(_point_rows(group, series))
    return target.getvalue()


def history_json(groups: Sequence[Group]) -> str:
    """One object: `{"schema": 1, "groups": [...]}`, times in seconds."""
    return json.dumps({"schema": 1, "groups": [_group_data(group) for group in groups]}, indent=2)


def sparkline(logs: Sequence[float]) -> str:
    """The newest `DRAWN` values as bars, low to high; a range below `FLAT` is level."""
    drawn = logs[-DRAWN:]
    low, high = min(drawn), max(drawn)
    if high - low < FLAT:
        return BARS[0] * len(drawn)
    scale = (len(BARS) - 1) / (high - low)
    return "".join(BARS[round((value - low) * scale)] for value in drawn)


def change_text(change: Change) -> str:
    """'+6.1 % in run 9 (2026-11-12, p 0.002; source changed)'."""
    what = f"{' and '.join(change.changed)} changed" if change.changed else "same config and source"
    day = change.started_at[:10]
    sure = f"p {max(change.p_value, 0.001):.3f}"
    return f"{100 * change.ratio:+.1f} % in run {change.run} ({day}, {sure}; {what})"


def _group(group: Group, style: TextFormat) -> Iterator[str]:
    if group.differs:
        bullet = "- " if style == "markdown" else "  "
        listed = "\n".join(f"{bullet}{prose(str(one), style)}" for one in group.differs)
        yield "Not comparable with the runs above, because this differs:"
        yield listed
    facts = dict(group.fingerprint.facts)
    shown = [f"{name} {facts[name]}" for name in SHOWN_FACTS if facts.get(name, "none") != "none"]
    yield prose(f"{', '.join(shown)} ({group.fingerprint.key()})", style)
    columns = {name: "right" if name in RIGHT else "left" for name in COLUMNS}
    yield table_text(columns, [_row(series) for series in group.series], style)


def _row(series: Series) -> list[str]:
    values = [point.value for point in series.points]
    return [
        series.suite,
        series.layer,
        contender_name(series.contender),
        series.reference,
        str(len(values)),
        digits(median(values), VALUE_DIGITS),
        digits(values[-1], VALUE_DIGITS),
        seconds_text(series.points[-1].seconds),
        sparkline([log(value) for value in values]),
        "; ".join(change_text(change) for change in series.changes),
    ]


def _notes(groups: Sequence[Group]) -> Iterator[str]:
    series = [one for group in groups for one in group.series]
    yield (
        "median, latest: the fastest block of a run, as a multiple of that of what it is against, "
        "timed in the same rounds; time: the latest run's median call"
    )
    if any(one.reference == ROOF for one in series):
        yield (
            "against roof: what the same operations take at the machine's peak; it does not know "
            "a busy cache or memory, so read small changes with care"
        )
    left_out = {one.reference: max(one.left_out, 0) for one in series if one.left_out}
    for reference, count in left_out.items():
        yield f"left out: up to {count} runs that were made without {one_line(reference)}"
    if any(len(one.points) < FEWEST for one in series):
        yield f"Steps are looked for in {FEWEST} runs and more: fewer cannot tell one from chance."
    yield NEVER_A_GATE


def _point_rows(group: Group, series: Series) -> Iterator[dict[str, Any]]:
    steps = {change.run: change.p_value for change in series.changes}
    for point in series.points:
        yield {
            "fingerprint": group.fingerprint.key(),
            **_fields(series, SERIES),
            "contender": contender_name(series.contender),
            "reference": series.reference,
            **_fields(point, POINT),
            "step_p_value": steps.get(point.run, ""),
        }


def _group_data(group: Group) -> dict[str, Any]:
    return {
        "fingerprint": group.fingerprint.key(),
        "facts": dict(group.fingerprint.facts),
        "differs_from_previous": [
            {"name": one.name, "before": one.before, "after": one.after} for one in group.differs
        ],
        "runs": list(group.runs),
        "series": [_series_data(series) for series in group.series],
    }


def _series_data(series: Series) -> dict[str, Any]:
    one = series.contender
    return {
        **_fields(series, SERIES),
        "contender": contender_name(series.contender),
        "backend": one.backend,
        "algorithm": one.algorithm,
        "weights": one.weights,
        "reference": series.reference,
        "left_out": series.left_out,
        "points": [_fields(point, POINT) for point in series.points],
        "steps": [
            {
                **_fields(change, ("run", "started_at", "before", "after", "p_value")),
                "change": change.ratio,
                "changed": list(change.changed),
            }
            for change in series.changes
        ],
    }


def _fields(value: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}
