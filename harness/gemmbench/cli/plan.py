"""`--dry-run` of `run` and `compare`: what would be raced, by whom, and how. Writes nothing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from gemmbench.cli.options import Option

if TYPE_CHECKING:
    from gemmbench.cli.given import Asked
    from gemmbench.problem import Problem
    from gemmbench.run_options import RunOptions
    from gemmbench.suite import Suite

dry_run_option: Option = click.option(
    "--dry-run", is_flag=True, help="Print what would be raced and write nothing."
)


def print_plan(
    suites: "Sequence[Suite]",
    asked: "Asked",
    options: "RunOptions",
    seconds: float,
    conditions: str = "",
    around: str = "",
) -> int:
    """Print what would be raced in `seconds` and which backends are missing; always 0.

    `conditions`: caches and operands, where they are not those of the protocol alone; `around`:
    the layer whose shape is varied, in a sweep. Raises GemmbenchError for all that a run refuses.
    """
    from gemmbench.run import check_run
    from gemmbench.run_options import check_names

    protocol, machine = asked.protocol, asked.machine
    layers = [(suite, layer) for suite in suites for layer in suite.layers]
    check_names(suites)
    check_run(layers, options, protocol, machine)
    for suite in suites:
        click.echo(f"{suite.name}: {suite.description}")
        if around:
            click.echo(f"shapes around {around}:")
        for layer in suite.layers:
            click.echo(f"  {layer.name:<12} {layer.problem.gemm()} {layer.problem.dtype}")
    missing = unavailable(layers[0][1].problem, asked, options)
    click.echo(f"backends: {', '.join(s for s in options.specs() if s not in missing) or 'none'}")
    for spec, reason in missing.items():
        click.echo(f"  not usable here: {spec}: {reason}")
    click.echo(
        f"{protocol.threads} threads of {machine.cores} cores, "
        f"{conditions or f'{protocol.cache} cache, {protocol.fill} operands'}, "
        f"{protocol.processes} processes, tune {options.tune}, at most about {seconds:.0f} s"
    )
    return 0


def check_db(db: str) -> None:
    """Raise GemmbenchError for a database that a run could not use. Writes nothing."""
    from gemmbench_results.inspection import store_info

    store_info(db)


def unavailable(problem: "Problem", asked: "Asked", options: "RunOptions") -> dict[str, str]:
    """The backends that cannot run here, each with the reason; each is asked in its own process."""
    from gemmbench.offers import NoOfferError, ask_backends

    questions = [(spec, problem) for spec in options.specs()]
    found = {}
    for (spec, _), reply in ask_backends(questions, options, asked.protocol, asked.machine):
        reason = str(reply) if isinstance(reply, NoOfferError) else reply["unavailable"]
        if reason is not None:
            found[spec] = reason
    return found
