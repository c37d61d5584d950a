"""`gemmbench network`."""

import shlex
import sys
from typing import TYPE_CHECKING

import click

from gemmbench.cli.formats import format_option, print_formatted
from gemmbench.cli.measuring import kinds_of_weights, strategy_option, what_is_asked
from gemmbench.cli.options import (
    Seconds,
    check_json_target,
    db_option,
    json_option,
    quiet_option,
    seed_option,
    threads_option,
)
from gemmbench.cli.suite import SuiteName

if TYPE_CHECKING:
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
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Fresh processes that repeat the passes.",
)
@click.option(
    "--batch", type=click.IntRange(min=1), help="Images of one pass. [default: the suite's]"
)
@click.option("--dtype", metavar="NAME", help="float32 or float64. [default: the suite's]")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="SPEC",
    help="Backend that may compute layers. Repeatable. [default: all that can share a process]",
)
@click.option(
    "--algorithm",
    "algorithms",
    multiple=True,
    metavar="NAME",
    help="Algorithm that may compute layers. Repeatable. [default: all]",
)
@click.option(
    "--weights",
    type=click.Choice(["plain", "prepared", "both"]),
    default="both",
    show_default=True,
    help="Weights as they come, or packed and transformed ahead.",
)
@threads_option
@click.option(
    "--tune",
    type=click.Choice(["never", "auto"]),
    default="never",
    show_default=True,
    help="Whether layers without a stored winner are searched for tile sizes before they race.",
)
@strategy_option
@click.option(
    "--budget",
    type=Seconds(),
    metavar="SECONDS",
    help="For racing the layers without a stored winner. [default: 4 a layer]",
)
@click.option(
    "--timeout",
    type=Seconds(),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="A layer or a pass that takes longer counts as hung.",
)
@click.option(
    "--memory", metavar="SIZE", help="Most memory, such as 4G. [default: 80% of what is free]"
)
@format_option
@db_option
@json_option
@seed_option
@quiet_option
def network(
    suite: str,
    iterations: int,
    processes: int,
    batch: int | None,
    dtype: str | None,
    backends: tuple[str, ...],
    algorithms: tuple[str, ...],
    weights: str,
    threads: int | None,
    tune: str,
    strategy: str,
    budget: float | None,
    timeout: float,
    memory: str | None,
    format_: "TableFormat",
    db: str,
    json_to: str | None,
    seed: int,
    quiet: bool,
) -> int:
    """Time a forward pass of SUITE, layer after layer, each by the best way that is known.

    The stored winner of each product, else the winner of a short race, runs on what the layers
    before it really produced, checked against float64. It says what each layer takes within a
    pass, the share of convolutions and fully connected layers, and what the layers take alone.
    """
    from gemmbench.cli.progress import ProgressLine
    from gemmbench.network import run_network
    from gemmbench.network_choice import RACE_SECONDS
    from gemmbench.network_pass import NetworkOptions
    from gemmbench.run_options import RunOptions
    from gemmbench.software import detect_software
    from gemmbench_results.report.network import network_json, network_rows
    from gemmbench_results.store import open_store

    check_json_target(json_to)
    asked = what_is_asked(
        (suite,),
        only=None,
        batch=batch,
        dtype=dtype,
        threads=threads,
        cache="hot",
        fill="uniform",
        processes=processes,
        memory=memory,
        seed=seed,
    )
    run = RunOptions(
        backends=backends,
        algorithms=algorithms,
        weights=kinds_of_weights(weights),
        tune=tune,  # type: ignore[arg-type]  # click has checked the choice
        strategy=strategy,
        budget=budget,
        timeout=timeout,
        memory_bytes=asked.memory_bytes,
    )
    command = shlex.join(["gemmbench", *sys.argv[1:]])
    options = NetworkOptions(run, CHEAP, iterations, processes)
    with (
        open_store(db) as store,
        ProgressLine(budget or RACE_SECONDS * len(asked.suites[0].layers), quiet=quiet) as line,
    ):
        result = run_network(
            asked.suites[0],
            options,
            asked.protocol,
            asked.machine,
            store,
            line,
            command,
            detect_software(),
        )
    print_formatted(
        format_,
        lambda style: titled(result, style),
        lambda: network_json(result),
        lambda: network_rows(result),
        quiet=quiet,
        json_to=json_to,
    )
    if result.failure is not None and (quiet or format_ in ("csv", "json")):
        where = f"layer {result.failure.layer!r}: " if result.failure.layer else ""
        click.echo(f"gemmbench: {suite}: {where}{result.failure.reason}", err=True)
    return result.exit_code()


def titled(result: "PassResult", style: "TextFormat") -> str:
    """The pass as a table or in Markdown, under the name of its suite."""
    from gemmbench_results.report.network import network_text

    title = f"{result.suite.name}: {result.suite.description}".removesuffix(": ")
    if style == "markdown":
        title = f"**{result.suite.name}**"
    return f"{title}\n\n{network_text(result, format=style)}"
