"""`gemmbench tune`."""

import shlex
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gemmbench.cli.formats import format_option, print_formatted
from gemmbench.cli.listing import print_listings
from gemmbench.cli.measuring import Asked, kinds_of_weights, measuring_options, what_is_asked
from gemmbench.cli.options import Seconds, check_json_target
from gemmbench.cli.run import data_of, overrun, verdicts_by_layer
from gemmbench.cli.suite import SuiteName
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemmbench.run_options import RunOptions
    from gemmbench.run_outcome import Outcome
    from gemmbench.space import SearchSpace
    from gemmbench.suite import Suite
    from gemmbench_results.report.render import TableFormat, TextFormat

READABLE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog="Example: gemmbench tune alexnet --only 'conv*' --budget 60")
@click.argument("suites", nargs=-1, required=True, metavar="SUITE...", type=SuiteName())
@measuring_options
@click.option(
    "--budget",
    type=Seconds(),
    metavar="SECONDS",
    help="For the whole command. [default: 18 a layer]",
)
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
    help="Search this space (YAML or JSON: axes, constraints, default) instead of the backend's.",
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
def tune(
    suites: tuple[str, ...],
    backends: tuple[str, ...],
    algorithms: tuple[str, ...],
    weights: str,
    only: str | None,
    batch: int | None,
    dtype: str | None,
    threads: int | None,
    cache: str,
    max_error: float | None,
    fill: str,
    strategy: str,
    evaluations: int,
    processes: int,
    timeout: float,
    memory: str | None,
    db: str,
    json_to: str | None,
    seed: int,
    quiet: bool,
    budget: float | None,
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
    from gemmbench.run_options import RunOptions
    from gemmbench.space_format import load_space

    check_json_target(json_to)
    check_plot(plot)
    check_arch(arch, backends, dry_run)
    asked = what_is_asked(
        suites,
        only=only,
        batch=batch,
        dtype=dtype,
        threads=threads,
        cache=cache,
        fill=fill,
        processes=processes,
        memory=memory,
        seed=seed,
        max_error=max_error,
    )
    if space_file and len(backends) != 1:
        raise click.UsageError(
            f"--space: got {len(backends)} backends; the file replaces the search space of one. "
            "Name it: --backend SPEC."
        )
    options = RunOptions(
        backends=backends,
        algorithms=algorithms,
        weights=kinds_of_weights(weights),
        tune="more",
        strategy=strategy,
        imported=tuple(imported(path) for path in recordings),
        space=load_space(space_file) if space_file else None,
        target=target,
        portfolio=portfolio,
        budget=budget,
        evaluations=evaluations,
        timeout=timeout,
        memory_bytes=asked.memory_bytes,
    )
    if dry_run and arch:
        return print_listings(asked, options, arch, format_)
    if dry_run:
        return print_spaces(asked, options, format_)
    axes = checked_axes(plot_axes, plot, asked, options) if plot_axes else None
    return tune_and_print(asked, options, db, json_to, quiet, plot, axes, format_)


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
    db: str,
    json_to: str | None,
    quiet: bool,
    plot: Path | None,
    axes: tuple[str, ...] | None,
    format_: "TableFormat",
) -> int:
    """Search, race, print what was gained, draw it; the exit code."""
    from gemmbench.cli.progress import ProgressLine
    from gemmbench.run import run_suites
    from gemmbench.run_options import budget_seconds
    from gemmbench.run_outcome import exit_code
    from gemmbench.software import detect_software
    from gemmbench_results.store import open_store

    command = shlex.join(["gemmbench", *sys.argv[1:]])
    with open_store(db) as store:
        with ProgressLine(budget_seconds(asked.suites, options), quiet=quiet) as line:
            outcome = run_suites(
                asked.suites, options, asked.protocol, asked.machine, store, line, command,
                detect_software(),
            )  # fmt: skip
        data = data_of(store, outcome, asked.machine, asked.protocol)
        print_formatted(
            format_,
            lambda style: (
                report(asked.suites, outcome, store.name, style)
                + overrun(asked.suites, options, outcome)
            ),
            lambda: data,
            lambda: data["trials"],
            quiet=quiet,
            json_to=json_to,
        )
        if plot:
            from gemmbench_results.report.plot import search_page

            page = search_page(store.trials(outcome.run), axes)
            plot.write_text(page, encoding="utf-8")
    if outcome.interrupted:
        click.echo(f"gemmbench: interrupted; what was measured is in {db}", err=True)
    return exit_code(outcome)


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


def checked_axes(
    given: str, plot: Path | None, asked: Asked, options: "RunOptions"
) -> tuple[str, str]:
    """The two axes of the heat maps. Raises GemmbenchError unless some space has both."""
    from gemmbench.errors import did_you_mean

    if plot is None:
        raise GemmbenchError("--plot-axes: says what to draw, so it needs --plot FILE.html.")
    names = tuple(name.strip() for name in given.split(","))
    if len(names) != 2 or names[0] == names[1]:
        raise GemmbenchError(f"--plot-axes: got {given!r}, expected two axes such as mr,kc.")
    spaces = [space for _, space in offered_spaces(asked, options)]
    known = list(dict.fromkeys(axis.name for space in spaces for axis in space.axes))
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise GemmbenchError(f"--plot-axes: no space here has an axis {name!r}.{hint}")
    return names[0], names[1]


def print_spaces(asked: Asked, options: "RunOptions", format_: "TableFormat") -> int:
    """Print what there is to search, and why combinations are left out; always 0."""
    found = list(offered_spaces(asked, options))
    rows = [space_data(name, space) for name, space in found]
    print_formatted(
        format_,
        lambda style: "".join(f"{name}: {space_text(space, style)}\n\n" for name, space in found),
        lambda: {"schema": 1, "spaces": rows},
        lambda: rows,
    )
    return 0


def space_data(name: str, space: "SearchSpace") -> dict[str, object]:
    """A space as JSON-able data, without its configs."""
    return {
        "space": name,
        "size": space.size(),
        "combinations": space.combinations(),
        "axes": [{"name": a.name, "kind": a.kind, "values": list(a.values)} for a in space.axes],
        "rejections": [{"rule": rule, "count": n} for rule, n in space.rejections().items()],
    }


def offered_spaces(asked: Asked, options: "RunOptions") -> "Iterator[tuple[str, SearchSpace]]":
    """Each space that would be searched, with the layer's and the contender's names.

    Says on stderr where a backend cannot be asked.
    """
    from gemmbench.offers import NoOfferError, describe
    from gemmbench.race import Limits
    from gemmbench.space import space_from_data

    limits = Limits(0, options.timeout, options.memory_bytes)
    layers = [(suite.name, layer) for suite in asked.suites for layer in suite.layers]
    for (suite, layer), spec in product(layers, options.specs()):
        try:
            reply = describe(spec, layer.problem, asked.protocol.threads, asked.machine, limits)
        except NoOfferError as error:
            click.echo(f"{suite} {layer.name}: {spec}: {error}", err=True)
            continue
        for offer in reply["offers"]:
            space = options.space or (offer["space"] and space_from_data(offer["space"]))
            if space and options.wants(offer["algorithm"], offer["weights"]):
                yield (
                    f"{suite} {layer.name}: {spec} {offer['algorithm']} {offer['weights']}",
                    space,
                )


def space_text(space: "SearchSpace", style: "TextFormat" = "table") -> str:
    """Its sizes, its axes, and how many combinations each constraint rejects."""
    from tabulate import tabulate

    from gemmbench_results.report.render import table_text

    lines = [[axis.name, axis.kind, " ".join(map(str, axis.values))] for axis in space.axes]
    lines += [["rejected", str(n), f"by {rule}"] for rule, n in space.rejections().items()]
    sizes = f"{space.size()} of {space.combinations()} combinations are valid"
    if style == "markdown":
        columns = dict.fromkeys(("axis", "kind", "values"), "left")
        return f"{sizes}\n\n{table_text(columns, lines, style)}"
    return f"{sizes}\n{tabulate(lines, tablefmt='plain', disable_numparse=True)}"
