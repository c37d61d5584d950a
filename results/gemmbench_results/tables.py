"""The tables of a database: made by the first run, brought up to date when it is opened.

Creating and upgrading are one transaction each, so nobody ever finds half of it.
"""

from gemmbench.errors import GemmbenchError
from gemmbench_results import migrations
from gemmbench_results.database import Database


def readable_revision(database: Database) -> str | None:
    """The schema revision; None in an empty database.

    Raises GemmbenchError for a newer schema and for tables that are not gemmbench's.
    """
    with database.reading() as connection:
        revision, tables = migrations.revision(connection), migrations.tables(connection)
    if revision in migrations.known_revisions() or not tables:
        return revision
    if not {"run", "trial", "sample"} <= tables:
        raise GemmbenchError(
            f"{database.name}: holds another program's tables ({', '.join(sorted(tables)[:5])}). "
            "Use another --db."
        )
    raise GemmbenchError(
        f"{database.name}: was made by a newer gemmbench (schema {revision}). Upgrade gemmbench "
        "or use another --db."
    )


def bring_up_to_date(database: Database) -> bool:
    """Whether the tables exist, after upgrading them; an empty database is left empty."""
    revision = readable_revision(database)
    if revision is not None and revision != migrations.known_revisions()[0]:
        with database.writing() as connection:
            migrations.upgrade(connection)
    return revision is not None


def create(database: Database) -> None:
    """Make the folder, the file and the tables; another process may be doing the same."""
    if database.path is not None:
        try:
            database.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GemmbenchError(
                f"{database.name}: its folder cannot be made: {error.strerror}. Use another --db."
            ) from error
    with database.writing() as connection:
        migrations.upgrade(connection)
    database.use_write_ahead_log()
