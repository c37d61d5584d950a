"""`gemmbench db`: where results are kept, and bringing an old database up to date."""

import click

from gemmbench.cli.options import db_option


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
def info(db: str) -> None:
    """Print the schema revision, what is stored, and the size.

    Example: gemmbench db info --db old.db
    """
    from gemmbench_results.store import store_info

    found = store_info(db)
    click.echo(f"database  {found.name}")
    if found.revision is None:
        click.echo("revision  none: nothing is stored yet")
        return
    note = "" if found.revision == found.newest_revision else f" (newest {found.newest_revision})"
    click.echo(f"revision  {found.revision}{note}")
    click.echo(f"runs      {found.runs}")
    click.echo(f"trials    {found.trials}")
    click.echo(f"samples   {found.samples}")
    if found.nbytes is not None:
        click.echo(f"size      {found.nbytes / 1e6:.1f} MB")


@db.command("upgrade")
@db_option
def upgrade(db: str) -> None:
    """Bring a database to the newest schema, as every command does that opens it.

    Example: gemmbench db upgrade --db old.db
    """
    from gemmbench_results.store import upgrade_store

    before, after = upgrade_store(db)
    changed = f"upgraded from {before} to {after}" if before != after else f"is at {after} already"
    click.echo(f"{db}: {changed}")
