"""Schema revisions, oldest first in `versions/`, and how a database gets from one to the next.

To add one: change `schema.py`, copy the newest file in `versions/` under the next number, and keep
a small database of the revision before it in `tests/golden/`. A revision never imports `schema.py`:
it must go on meaning what it meant on the day it was released. No alembic.ini is needed.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

HERE = Path(__file__).parent


def revision(connection: Connection) -> str | None:
    """The schema revision of the database, None if it has none."""
    heads = MigrationContext.configure(connection).get_current_heads()
    return heads[0] if heads else None


def known_revisions() -> list[str]:
    """The revisions that this gemmbench can read, newest first."""
    scripts = ScriptDirectory(str(HERE))
    return [script.revision for script in scripts.walk_revisions()]


def tables(connection: Connection) -> set[str]:
    """Names of the tables in the database."""
    return set(inspect(connection).get_table_names())


def upgrade(connection: Connection, target: str = "head") -> None:
    """Bring the database to `target` within the connection's open transaction."""
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, target)
