"""What a database holds, and its schema: asked without making it a store, upgraded on request."""

import os
from dataclasses import dataclass

from sqlalchemy import func, select

from gemmbench.errors import GemmbenchError
from gemmbench_results import migrations, schema
from gemmbench_results.database import locate
from gemmbench_results.store import open_store
from gemmbench_results.tables import readable_revision


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a database holds. `nbytes` is None where it is not a file."""

    name: str
    revision: str | None  # None: nothing was stored yet
    newest_revision: str
    runs: int
    trials: int
    samples: int
    nbytes: int | None


def store_info(place: str | os.PathLike[str]) -> StoreInfo:
    """What the database at `place` holds; neither made nor upgraded by asking.

    Raises GemmbenchError as `open_store` does.
    """
    database = locate(place)
    newest = migrations.known_revisions()[0]
    empty = StoreInfo(database.name, None, newest, 0, 0, 0, None)
    if database.path is not None and not database.path.exists():
        return empty
    try:
        revision = readable_revision(database)
        if revision is None:
            return empty
        with database.reading() as connection:
            runs, trials, samples = (
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (schema.run, schema.trial, schema.sample)
            )
    finally:
        database.engine.dispose()
    nbytes = database.path.stat().st_size if database.path else None
    return StoreInfo(database.name, revision, newest, runs, trials, samples, nbytes)


def upgrade_store(place: str | os.PathLike[str]) -> tuple[str, str]:
    """The revisions before and after upgrading the database at `place`, which must exist.

    Raises GemmbenchError as `open_store` does.
    """
    before = store_info(place).revision
    open_store(place, create=False).close()
    after = store_info(place).revision
    if before is None or after is None:
        raise GemmbenchError(f"{place}: holds no results yet. Run 'gemmbench run SUITE' first.")
    return before, after
