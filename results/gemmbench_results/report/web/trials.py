"""Every trial of a run as rows of a table: what is shown, and what it is sorted by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from gemmbench.stats import Summary
from gemmbench.trial import Trial
from gemmbench_results.export.entries import contender_name
from gemmbench_results.report.escape import one_line
from gemmbench_results.report.standing import fraction_of_peak, gflops, summary_of
from gemmbench_results.report.table import config_text, digits, time_text

MOST_ROWS = 4000  # more make a page that nobody scrolls; races come first, then the fastest

Key = float | str


@dataclass(frozen=True, slots=True)
class Cell:
    """What a reader sees, and what rows are sorted by."""

    text: str
    key: Key


@dataclass(frozen=True, slots=True)
class Row:
    """A trial; `purpose` and `state` are what rows are chosen by."""

    purpose: str
    state: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """`numeric` ones stand to the right; what has no number sorts last."""

    name: str
    numeric: bool
    of: Callable[[Trial, Summary | None], Cell]


def _words(text: str) -> Cell:
    line = one_line(text)
    return Cell(line, line.casefold())


def _number(value: float | None, text: str) -> Cell:
    return Cell("" if value is None else text, inf if value is None else value)


def _time(_: Trial, summary: Summary | None) -> Cell:
    return _number(summary.median, time_text(summary)) if summary else Cell("", inf)


def _rate(trial: Trial, summary: Summary | None) -> Cell:
    value = gflops(trial, summary) if summary else None
    return _number(value, digits(value or 0, 3))


def _share(trial: Trial, summary: Summary | None) -> Cell:
    value = fraction_of_peak(trial, summary) if summary else None
    return _number(value, f"{100 * (value or 0):.1f}")


def _error(trial: Trial, _: Summary | None) -> Cell:
    if trial.max_error is None or not trial.error_bound:
        return Cell("", inf)
    share = trial.max_error / trial.error_bound
    return _number(share, f"{share:.2g}")


def _accuracy(trial: Trial, _: Summary | None) -> Cell:
    return _number(trial.relative_error, f"{trial.relative_error or 0:.1e}")


def _workspace(trial: Trial, _: Summary | None) -> Cell:
    return _number(trial.workspace_bytes, f"{(trial.workspace_bytes or 0) / 1e6:.2f}")


def _config(trial: Trial, _: Summary | None) -> Cell:
    return _words(config_text(trial.contender.config, tuned=trial.contender.tuned))


COLUMNS = (
    Column("layer", False, lambda trial, _: _words(trial.layer)),
    Column("shape", False, lambda trial, _: _words(str(trial.problem.gemm()))),
    Column("contender", False, lambda trial, _: _words(contender_name(trial.contender))),
    Column("for", False, lambda trial, _: _words(trial.purpose)),
    Column("state", False, lambda trial, _: _words(str(trial.state))),
    Column("time", True, _time),
    Column("GFLOP/s", True, _rate),
    Column("% of peak", True, _share),
    Column("error/bound", True, _error),
    Column("max error/rms", True, _accuracy),
    Column("workspace MB", True, _workspace),
    Column("config", False, _config),
    Column("library", False, lambda trial, _: _words(trial.library)),
    Column("reason", False, lambda trial, _: _words(trial.reason)),
)


def trial_rows(trials: Sequence[Trial]) -> list[Row]:
    """A row a trial, in recorded order; of more than `MOST_ROWS` races first, then the fastest."""
    pairs = [(trial, summary_of(trial)) for trial in trials]
    if len(pairs) > MOST_ROWS:
        pairs.sort(key=lambda pair: (pair[0].purpose != "race", pair[1].median if pair[1] else inf))
    return [
        Row(
            trial.purpose,
            str(trial.state),
            tuple(column.of(trial, summary) for column in COLUMNS),
        )
        for trial, summary in pairs[:MOST_ROWS]
    ]
