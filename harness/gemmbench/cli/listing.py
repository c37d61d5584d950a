"""`gemmbench tune --dry-run --arch`: what a compiler says of every config, without the device."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import click

from gemmbench.cli.formats import print_formatted
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.cli.given import Asked
    from gemmbench.run_options import RunOptions
    from gemmbench.suite import Layer
    from gemmbench_results.report.render import TableFormat, TextFormat

PATIENCE = 3600.0  # seconds for all configs of a layer: each takes the compiler about 0.3 s


def print_listings(
    asked: "Asked", options: "RunOptions", arch: str, format_: "TableFormat" = "table"
) -> int:
    """Print each layer's configs as compiled for `arch`, best first; always 0.

    Raises GemmbenchError if a backend has no compiler that could be asked.
    """
    layers = [(suite.name, layer) for suite in asked.suites for layer in suite.layers]
    found: list[tuple[str, list[dict[str, Any]]]] = []
    for (suite, layer), spec in product(layers, options.specs()):
        click.echo(f"{suite} {layer.name}: compiling every config for {arch}", err=True)
        rows = listing(spec, layer, arch, asked.protocol.threads)
        if options.algorithms:
            rows = [row for row in rows if row["algorithm"] in options.algorithms]
        for algorithm in dict.fromkeys(row["algorithm"] for row in rows):
            chosen = [row for row in rows if row["algorithm"] == algorithm]
            found.append((f"{suite} {layer.name}: {spec} {algorithm} on {arch}", chosen))
    flat = [{"kernel": name, **row} for name, rows in found for row in rows]
    print_formatted(
        format_,
        lambda style: "".join(
            f"{name}: {summary(rows)}\n{table(rows, style)}\n\n" for name, rows in found
        ),
        lambda: {"schema": 1, "rows": flat},
        lambda: flat,
    )
    return 0


def listing(spec: str, layer: "Layer", arch: str, threads: int) -> list[dict[str, Any]]:
    """The rows that the backend `spec` gives, from a process of its own."""
    from gemmbench.backend import locate_backend
    from gemmbench.link import Link, RequestError, WorkerLostError, location_data

    location = locate_backend(spec)
    with Link(location, layer.problem, threads=threads, timeout=PATIENCE) as link:
        try:
            reply = link.ask(
                "listing", location=location_data(location), arch=arch, processes=threads
            )
        except (RequestError, WorkerLostError) as error:
            raise GemmbenchError(f"backend {spec!r}: {error}") from error
    rows: list[dict[str, Any]] = reply["rows"]
    return rows


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many kernels, how many of them are not worth launching."""
    spilling = sum(1 for row in rows if row["spill_bytes"])
    too_large = sum(1 for row in rows if not row["blocks_per_sm"])
    return (
        f"{len(rows)} kernels, {spilling} spill registers, {too_large} do not fit on an SM; "
        "share is a model's that puts them in order, not a forecast"
    )


def table(rows: Sequence[Mapping[str, Any]], style: "TextFormat" = "table") -> str:
    """One line a config: its axes, then what it takes."""
    from tabulate import tabulate

    from gemmbench_results.report.render import table_text

    axes = list(rows[0]["config"]) if rows else []
    headers = [
        *axes, "threads", "registers", "spills (B)", "shared (B)", "blocks/SM", "occupancy %",
        "share",
    ]  # fmt: skip
    lines = [
        [
            *row["config"].values(), row["threads"], row["registers"], row["spill_bytes"],
            row["shared_bytes"], row["blocks_per_sm"], f"{100 * row['occupancy']:.1f}",
            f"{row['share']:.3f}",
        ]
        for row in rows
    ]  # fmt: skip
    if style == "markdown":
        columns = dict.fromkeys(headers, "right")
        return "\n" + table_text(columns, [[str(cell) for cell in row] for row in lines], style)
    return tabulate(lines, headers=headers, tablefmt="plain", disable_numparse=True)
