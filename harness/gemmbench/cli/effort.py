"""Options that say how much may be spent: seconds, processes, configs of a search, memory."""

import click

from gemmbench.cli.options import Option, Seconds


def budget_option(meaning: str, *more_names: str) -> Option:
    """`--budget` in seconds, passed as `budget`; `meaning` says for what, and the default."""
    return click.option(
        "--budget", *more_names, "budget", type=Seconds(), metavar="SECONDS", help=meaning
    )


def timeout_option(who: str) -> Option:
    """`--timeout` of one request; `who` takes longer counts as hung."""
    return click.option(
        "--timeout",
        type=Seconds(),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help=f"{who} counts as hung.",
    )


def processes_option(meaning: str) -> Option:
    """`--processes`; `meaning` says what they are for."""
    return click.option(
        "--processes", type=click.IntRange(min=1), default=3, show_default=True, help=meaning
    )


memory_option: Option = click.option(
    "--memory", metavar="SIZE", help="Most memory, such as 4G. [default: 80% of what is free]"
)

evaluations_option: Option = click.option(
    "--evaluations",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Most configs one search measures.",
)

strategy_option: Option = click.option(
    "--strategy",
    metavar="NAME",
    default="gp",
    show_default=True,
    help="How a search chooses configs: gp, random, genetic, exhaustive.",
)


def tune_option(*choices: str, meaning: str) -> Option:
    """`--tune`, the first of `choices` by default; `meaning` says what each does."""
    return click.option(
        "--tune", type=click.Choice(choices), default=choices[0], show_default=True, help=meaning
    )
