"""`gemmbench history`."""

import click

from gemmbench.cli.formats import format_option
from gemmbench.cli.options import db_option


@click.command(epilog="Example: gemmbench history alexnet --layer 'conv*' --backend numba")
@click.argument("suite", required=False, metavar="[SUITE]")
@click.option(
    "--layer", metavar="GLOB", default="*", help="Layers, such as 'conv*'. [default: all]"
)
@click.option("--backend", metavar="SPEC", help="Only this backend's. [default: all]")
@click.option(
    "--reference",
    metavar="auto|roof|SPEC",
    default="auto",
    show_default=True,
    help="What times are divided by: the machine's roof, or a backend of the same races; auto is "
    "blas where most runs have it, else roof.",
)
@format_option
@db_option
def history(
    suite: str | None, layer: str, backend: str | None, reference: str, format_: str, db: str
) -> int:
    """Show how each contender's time developed, over the runs that may be compared.

    SUITE is the name of a stored suite, or the file it came from. Times are divided by those of a
    reference that was timed in the same races; runs whose machines, libraries or protocols differ
    are never put in one series, and what differs is listed. Steps are found by a permutation test.
    Nothing here fails a build: that is what 'gemmbench check' is for.
    """
    from gemmbench_results.history import read_history
    from gemmbench_results.report.history import history_csv, history_json, history_text
    from gemmbench_results.store import open_store

    with open_store(db, create=False) as store:
        groups = read_history(
            store, suite=suite_name(suite), layer=layer, backend=backend, reference=reference
        )
    if format_ == "csv":
        click.echo(history_csv(groups), nl=False)
    elif format_ == "json":
        click.echo(history_json(groups))
    elif format_ == "markdown":
        click.echo(history_text(groups, format="markdown"))
    else:
        click.echo(history_text(groups))
    return 0


def suite_name(given: str | None) -> str | None:
    """The name under which results are stored: that in the file, where a file was given."""
    if given is None or not given.endswith((".yaml", ".yml")):
        return given
    from gemmbench.suite import load_suite

    return load_suite(given).name
