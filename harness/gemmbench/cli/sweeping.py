"""`gemmbench compare --sweep`: which algorithm wins at which shape, as a map."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gemmbench.cli.comparing import document, suite_head
from gemmbench.cli.formats import print_formatted
from gemmbench.cli.plan import print_plan
from gemmbench.cli.racing import busy_machine, ended, typed
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.cli.given import Asked, Given
    from gemmbench.run_options import RunOptions
    from gemmbench.suite import Layer, Suite
    from gemmbench.sweep import Grid
    from gemmbench_results.report.render import TableFormat


def grid_of(asked: "Asked", sweeps: tuple[str, ...], options: "RunOptions") -> "Grid":
    """The shapes around the first convolution that fit in memory."""
    from gemmbench.compare.sweeping import within_memory
    from gemmbench.problem import Conv2d
    from gemmbench.sweep import make_grid, parse_axis

    suite, base = first_convolution(asked)
    if not isinstance(base.problem, Conv2d):  # only those are left
        raise GemmbenchError(f"{suite.origin}: {base.name!r} is no convolution.")
    grid = make_grid(base.problem, [parse_axis(text) for text in sweeps])
    return within_memory(suite, grid, options)


def first_convolution(asked: "Asked") -> "tuple[Suite, Layer]":
    """The convolutions of the suite, and the first of them."""
    from gemmbench.compare.side_by_side import convolutions

    suite = convolutions(asked.suites[0])
    return suite, suite.layers[0]


def print_grid(grid: "Grid", asked: "Asked", options: "RunOptions") -> int:
    """Print the shapes that may be raced; always 0."""
    from gemmbench.compare.sweeping import sweep_seconds
    from gemmbench.suite import Layer

    suite, base = first_convolution(asked)
    layers = tuple(
        Layer(grid.label(point), problem, suite.source) for point, problem in grid.problems.items()
    )
    return print_plan(
        [replace(suite, layers=layers)], asked, options, sweep_seconds(grid, options),
        around=base.name,
    )  # fmt: skip


def sweep(
    grid: "Grid",
    asked: "Asked",
    options: "RunOptions",
    given: "Given",
    format_: "TableFormat",
) -> int:
    """The map of a grid; the exit code."""
    from gemmbench.cli.progress import ProgressLine
    from gemmbench.compare.sweeping import run_sweep, sweep_seconds
    from gemmbench.problem import problem_to_data
    from gemmbench.software import detect_software
    from gemmbench_results.report.crossover import crossover_data, crossover_text
    from gemmbench_results.store import open_store

    (suite, base), others = first_convolution(asked), busy_machine()
    with open_store(given.db) as store:
        with ProgressLine(sweep_seconds(grid, options), quiet=given.quiet) as line:
            swept = run_sweep(
                suite, grid, options, asked.protocol, asked.machine, store, line, typed(),
                detect_software(),
            )  # fmt: skip
        outcome = swept.outcome
        found = {
            "suite": suite.name, "base": base.name, "problem": problem_to_data(base.problem),
            **crossover_data(swept),
        }  # fmt: skip
        data = document(store, asked, outcome, found)
        head = suite_head(f"{suite.name} {base.name}", weights_text(options))
        where = f"Every sample is in {store.name} (run {outcome.run})."
        print_formatted(
            format_,
            lambda style: "\n\n".join([head, crossover_text(swept, style), where]) + others,
            lambda: data,
            lambda: point_rows(found["points"]),
            quiet=given.quiet,
            json_to=given.json_to,
        )
    return ended(outcome, given.db)


def point_rows(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row of CSV a point and algorithm; a point that was not measured has one row."""
    rows = []
    for point in points:
        own = {k: v for k, v in point.items() if k not in ("rows", "verdicts", "problem")}
        rows += [{**own, **trial} for trial in point["rows"]] or [own]
    return rows


def weights_text(options: "RunOptions") -> str:
    """As 'prepared weights'."""
    return f"{' and '.join(options.weights)} weights"
