"""`gemmbench network`."""

from typing import TYPE_CHECKING

import click

from gemmbench.cli.effort import (
    budget_option,
    memory_option,
    processes_option,
    strategy_option,
    timeout_option,
    tune_option,
)
from gemmbench.cli.formats import format_option, print_formatted
from gemmbench.cli.given import Given, gathered, run_options, what_is_asked
from gemmbench.cli.options import db_option, json_option, quiet_option, seed_option
from gemmbench.cli.raced import (
    algorithms_option,
    backends_option,
    batch_option,
    dtype_option,
    threads_option,
    weights_option,
)
from gemmbench.cli.racing import busy_machine, typed
from gemmbench.cli.suite import SuiteName

if TYPE_CHECKING:
    from gemmbench.cli.given import Asked
    from gemmbench.network import PassResult
    from gemmbench_results.report.render import TableFormat, TextFormat

CHEAP = "gemmbench_backends.cheap_layers:CheapLayers"


@click.command(epilog="Example: gemmbench network alexnet --batch 1 --threads 2")
@click.argument("suite", metavar="SUITE", type=SuiteName())
@click.option(
    "--iterations",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Passes that are timed, shared among the processes.",
)
@processes_option("Fresh processes that repeat the passes.")
@batch_option("Images, or rows, of one pass")
@dtype_option
@backends_option("that may compute layers", default="all that can share a process")
@algorithms_option("that may compute layers")
@weights_option(default="both")
@threads_option
@tune_option(
    "never",
    "auto",
    meaning="Whether layers without a stored winner are searched for tile sizes before they race.",
)
@strategy_option
@budget_option("For racing the layers without a stored winner. [default: 4 a layer]")
@timeout_option("A layer or a pass that takes longer")
@memory_option
@format_option
@db_option
@json_option
@seed_option
@quiet_option
@gathered
def network(suite: str, given: Given, iterations: int, format_: "TableFormat") -> int:
    """Time a forward pass of SUITE, layer after layer, each by the best way that is known.

    The stored winner of each product, else the winner of a short race, runs on what the layers
    before it really produced, checked against float64. It says what each layer takes within a
    pass, the share of convolutions and fully connected layers, and what the layers take alone.
    """
    from gemmbench_results.report.network import network_json, network_rows

    asked, others = what_is_asked((suite,), given), busy_machine()
    result = passed(asked, given, iterations)
    print_formatted(
        format_,
        lambda style: titled(result, style) + others,
        lambda: network_json(result),
        lambda: network_rows(result),
        quiet=given.quiet,
        json_to=given.json_to,
    )
    if result.failure is not None and (given.quiet or format_ in ("csv", "json")):
        where = f"layer {result.failure.layer!r}: " if result.failure.layer else ""
        click.echo(f"gemmbench: {suite}: {where}{result.failure.reason}", err=True)
    return result.exit_code()


def passed(asked: "Asked", given: Given, iterations: int) -> "PassResult":
    """What passing through the network gives, its races recorded in the database."""
    from gemmbench.cli.progress import ProgressLine
    from gemmbench.network import run_network
    from gemmbench.network_choice import RACE_SECONDS
    from gemmbench.network_pass import NetworkOptions
    from gemmbench.software import detect_software
    from gemmbench_results.store import open_store

    (suite,) = asked.suites
    options = NetworkOptions(run_options(given, asked), CHEAP, iterations, given.processes)
    seconds = given.budget or RACE_SECONDS * len(suite.layers)
    with open_store(given.db) as store, ProgressLine(seconds, quiet=given.quiet) as line:
        return run_network(
            suite, options, asked.protocol, asked.machine, store, line, typed(), detect_software()
        )


def titled(result: "PassResult", style: "TextFormat") -> str:
    """The pass as a table or in Markdown, under the name of its suite."""
    from gemmbench_results.report.network import network_text

    title = f"{result.suite.name}: {result.suite.description}".removesuffix(": ")
    if style == "markdown":
        title = f"**{result.suite.name}**"
    return f"{title}\n\n{network_text(result, format=style)}"
