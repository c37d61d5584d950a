"""`gemmbench db`: where results are kept, and bringing an old database up to date."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gemmbench.cli.formats import format_option, pairs_text, print_formatted
from gemmbench.cli.options import db_option

if TYPE_CHECKING:
    from gemmbench_results.inspection import StoreInfo
    from gemmbench_results.report.render import TableFormat


@click.group("db")
def db() -> None:
    """Look after the database of results."""


@db.command("path")
@db_option
def path(db: str) -> None:
    """Print where results are kept.

    Example: sqlite3 "$(gemmbench db path)" "SELECT * FROM best"
    """
    from gemmbench_results.database import locate

    click.echo(locate(db).name)


@db.command("info")
@db_option
@format_option
def info(db: str, format_: "TableFormat") -> None:
    """Print the schema revision, what is stored, and the size.

    Example: gemmbench db info --db old.db
    """
    from gemmbench_results.inspection import store_info

    found = store_info(db)
    print_formatted(
        format_,
        lambda style: pairs_text(info_lines(found), style),
        lambda: {"schema": 1, "database": asdict(found)},
        lambda: [asdict(found)],
    )


def info_lines(found: "StoreInfo") -> list[tuple[str, str]]:
    """What is told of a database, with its names."""
    if found.revision is None:
        return [("database", found.name), ("revision", "none: nothing is stored yet")]
    note = "" if found.revision == found.newest_revision else f" (newest {found.newest_revision})"
    size = [] if found.nbytes is None else [("size", f"{found.nbytes / 1e6:.1f} MB")]
    return [
        ("database", found.name),
        ("revision", f"{found.revision}{note}"),
        ("runs", str(found.runs)),
        ("trials", str(found.trials)),
        ("samples", str(found.samples)),
        *size,
    ]


@db.command("upgrade")
@db_option
def upgrade(db: str) -> None:
    """Bring a database to the newest schema, as every command does that opens it.

    Example: gemmbench db upgrade --db old.db
    """
    from gemmbench_results.inspection import upgrade_store

    before, after = upgrade_store(db)
    changed = f"upgraded from {before} to {after}" if before != after else f"is at {after} already"
    click.echo(f"{db}: {changed}")
