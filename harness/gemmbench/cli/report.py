"""`gemmbench report`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gemmbench.cli.history import suite_name
from gemmbench.cli.options import db_option, quiet_option
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench_results.report.web.evidence import Evidence

FILE = "report.html"


@click.command(epilog="Example: gemmbench report alexnet --html alexnet.html")
@click.argument("suite", required=False, metavar="[SUITE]")
@click.option(
    "--run",
    "number",
    type=click.IntRange(min=1),
    help="Run to report. [default: the newest of those that raced the most layers; what 'network' "
    "raced, sweeps, and runs that timed nothing, where there is nothing else]",
)
@click.option(
    "--html",
    metavar="FILE|-",
    help=f"Where to write; '-' is stdout. [default: {FILE} beside the database]",
)
@quiet_option
@db_option
def report(suite: str | None, number: int | None, html: str | None, quiet: bool, db: str) -> int:
    """Write what the database holds about a suite as one HTML file with charts.

    SUITE is the name of a stored suite, or the file it came from; without it, that of the newest
    race. The file needs no server and no network, and draws where the time goes, GFLOP/s under the
    roof, algorithms, stages, searches and history, over a table of every trial.
    """
    from gemmbench_results.report.web.evidence import fuller, gather
    from gemmbench_results.report.web.page import plotly_source, report_page
    from gemmbench_results.report.web.summary import headline
    from gemmbench_results.store import open_store

    plotly = plotly_source()
    with open_store(db, create=False) as store:
        evidence = gather(store, suite_name(suite), number)
        others = fuller(store, evidence) if number is None else []
        target = place(html, store.name)
        page = report_page(evidence, counts_of(suite, evidence), Path(store.name).name, plotly)
    write(target, page)
    if not quiet and target != "-":
        click.echo(f"{evidence.suite}: {headline(evidence.trials)}")
        click.echo(f"{target}: {len(page.encode()) / 1e6:.1f} MB, {run_text(evidence)}")
        for run, layers in others[:1]:
            click.echo(f"Run {run} raced {layers} layers: --run {run} reports it.")
    return 0


def run_text(evidence: "Evidence") -> str:
    """Which run is reported: 'run 3 (gemmbench run alexnet, 2026-11-26), 8 layers'."""
    run = evidence.run
    layers = len({trial.layer for trial in evidence.trials if trial.purpose == "race"})
    plural = "s" if layers != 1 else ""
    return f"run {run.number} ({run.command}, {run.started_at[:10]}), {layers} layer{plural}"


def place(html: str | None, database: str) -> str:
    """Where to write: as asked, or beside the database where that is a file."""
    if html == "-":
        return html
    beside = Path(database).parent if Path(database).is_file() else Path()
    target = Path(html) if html is not None else beside / FILE
    if target.suffix != ".html" or not target.absolute().parent.is_dir():
        raise GemmbenchError(
            f"--html: got {str(target)!r}, expected FILE.html in a folder that exists, or '-'."
        )
    return str(target)


def counts_of(given: str | None, evidence: "Evidence") -> dict[str, int]:
    """How often the network repeats each layer, where the suite is still found and the same.

    A database keeps the layers that were raced but not how often a network has them.
    """
    from gemmbench.suite import load_suite

    try:
        suite = load_suite(given or evidence.suite)
    except GemmbenchError:
        return {}
    raced = {trial.layer for trial in evidence.trials}
    known = {layer.name: layer.count for layer in suite.layers}
    return known if suite.name == evidence.suite and raced <= set(known) else {}


def write(target: str, page: str) -> None:
    """Write the page. Raises GemmbenchError where that is refused."""
    try:
        with click.open_file(target, "w", encoding="utf-8") as file:
            file.write(page)
    except OSError as error:
        raise GemmbenchError(
            f"--html: cannot write {target!r}: {error.strerror}. Name another file."
        ) from error
