"""`gemmbench tune`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gemmbench.cli.effort import budget_option
from gemmbench.cli.formats import format_option
from gemmbench.cli.given import Asked, Given, gathered, run_options, what_is_asked
from gemmbench.cli.listing import print_listings
from gemmbench.cli.measuring import measuring_options
from gemmbench.cli.plan import check_db
from gemmbench.cli.racing import ended, race_and_print, verdicts_by_layer
from gemmbench.cli.spaces import checked_axes, print_spaces
from gemmbench.cli.suite import SuiteName
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.run_options import RunOptions
    from gemmbench.run_outcome import Outcome
    from gemmbench.suite import Suite
    from gemmbench_results.report.render import TableFormat, TextFormat

READABLE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog="Example: gemmbench tune alexnet --only 'conv*' --budget 60")
@click.argument("suites", nargs=-1, required=True, metavar="SUITE...", type=SuiteName())
@measuring_options
@budget_option("For the whole command. [default: 18 a layer]")
@click.option(
    "--target",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="FRACTION",
    help="End a search at this share of the machine's peak, such as 0.9.",
)
@click.option(
    "--warm-start",
    "recordings",
    multiple=True,
    metavar="FILE",
    type=READABLE,
    help="Recorded space (CSV or Kernel Tuner cache) of a kernel alike to start from. Repeatable.",
)
@click.option(
    "--space",
    "space_file",
    metavar="FILE",
    type=READABLE,
    help="Search this space (YAML or JSON: axes, constraints, default) instead of the backend's, "
    "all of whose axes it must have.",
)
@click.option(
    "--plot",
    metavar="FILE.html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the searches: best so far, and what was measured over two axes.",
)
@click.option(
    "--plot-axes", metavar="A,B", help="Axes of the heat maps. [default: the two that matter most]"
)
@click.option(
    "--portfolio",
    is_flag=True,
    help="Measure each layer's leading configs on the other layers, for 'best --portfolio'.",
)
@click.option("--dry-run", is_flag=True, help="Print the spaces and write nothing.")
@click.option(
    "--arch",
    metavar="NAME",
    help="With --dry-run: what the compiler says of every config on a GPU such as sm_90, which "
    "need not be there.",
)
@format_option
@gathered
def tune(
    suites: tuple[str, ...],
    given: Given,
    target: float | None,
    recordings: tuple[Path, ...],
    space_file: Path | None,
    plot: Path | None,
    plot_axes: str | None,
    portfolio: bool,
    dry_run: bool,
    arch: str | None,
    format_: "TableFormat",
) -> int:
    """Search the tile sizes of each SUITE's layers, and race what is found with the default.

    Goes on where an earlier search of the same kernel on this machine ended, and learns from those
    of other shapes and machines. Every config is verified before it is timed; one that is wrong,
    crashes or hangs ends nothing. Ctrl-C keeps what was measured; 'gemmbench best' prints winners.
    """
    check_plot(plot)
    check_arch(arch, given.backends, dry_run)
    asked = what_is_asked(suites, given)
    check_space(space_file, given.backends)
    options = replace(
        searching(run_options(given, asked), space_file, recordings),
        target=target,
        portfolio=portfolio,
    )
    if dry_run and arch:
        return print_listings(asked, options, arch, format_)
    axes = checked_axes(plot_axes, plot, asked, options) if plot_axes else None
    if dry_run:
        check_db(given.db)
        return print_spaces(asked, options, format_)
    return tune_and_print(asked, options, given, plot, axes, format_)


def searching(
    options: "RunOptions", space_file: Path | None, recordings: tuple[Path, ...]
) -> "RunOptions":
    """`options` of a run that searches on, through the space in the file where one is given."""
    from gemmbench.space_format import load_space

    return replace(
        options,
        tune="more",
        imported=tuple(imported(path) for path in recordings),
        space=load_space(space_file) if space_file else None,
    )


def check_space(space_file: Path | None, backends: tuple[str, ...]) -> None:
    """Raise UsageError for a space that would replace those of several backends."""
    if space_file and len(backends) != 1:
        raise click.UsageError(
            f"--space: got {len(backends)} backends; the file replaces the search space of one. "
            "Name it: --backend SPEC."
        )


def imported(path: Path) -> "list[tuple[dict[str, int | float | str | bool], float | None]]":
    """The configs and times recorded in the file at `path`."""
    from gemmbench.recorded import load_recorded

    recorded = load_recorded(path)
    seconds = [None if time != time else float(time) for time in recorded.seconds]
    return list(zip(recorded.space, seconds, strict=True))


def check_arch(arch: str | None, backends: tuple[str, ...], dry_run: bool) -> None:
    """Raise UsageError if an architecture is named where nothing is compiled for it."""
    if arch is not None and not (dry_run and backends):
        raise click.UsageError(
            f"--arch: got {arch!r}, which only --dry-run reads, for the backends named. "
            "Add: --dry-run --backend cupy"
        )


def check_plot(plot: Path | None) -> None:
    """Raise GemmbenchError now if the plot could not be drawn later, when the work is done."""
    if plot is None:
        return
    from importlib.util import find_spec

    if find_spec("plotly") is None:
        raise GemmbenchError("--plot: needs plotly. Run: pip install 'gemmbench[plot]'")
    if plot.suffix != ".html" or not plot.parent.is_dir():
        raise GemmbenchError(f"--plot: got {str(plot)!r}, expected FILE.html in a folder there is.")


def tune_and_print(
    asked: Asked,
    options: "RunOptions",
    given: Given,
    plot: Path | None,
    axes: tuple[str, ...] | None,
    format_: "TableFormat",
) -> int:
    """Search, race, print what was gained, draw it; the exit code."""
    from gemmbench_results.store import open_store

    with open_store(given.db) as store:
        outcome = race_and_print(
            asked, options, given, format_, store,
            lambda done, style: report(asked.suites, done, store.name, style),
        )  # fmt: skip
        if plot:
            from gemmbench_results.report.plot import search_page

            page = search_page(store.trials(outcome.run), axes)
            plot.write_text(page, encoding="utf-8")
    return ended(outcome, given.db)


def report(
    suites: "list[Suite]", outcome: "Outcome", database: str, style: "TextFormat" = "table"
) -> str:
    """One table a suite, what each search gained, and where the samples are."""
    from gemmbench_results.report.gains import gain_sentences
    from gemmbench_results.report.table import trial_table

    parts = []
    for suite in suites:
        trials = [trial for trial in outcome.trials if trial.suite == suite.name]
        parts.append(f"{suite.name}: {suite.description}")
        parts.append(trial_table(trials, verdicts_by_layer(trials), format=style))
        parts.append("\n".join(gain_sentences(trials, outcome.searched)))
    parts.append(
        f"{outcome.evaluations} configs measured; every sample is in {database} "
        f"(run {outcome.run})."
    )
    return "\n\n".join(part for part in parts if part)
