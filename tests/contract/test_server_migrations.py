"""Schema revisions on the server that GEMMBENCH_TEST_DB names, which is wiped."""

import os
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, create_engine, inspect

from gemmbench_results import migrations, schema
from gemmbench_results.inspection import store_info
from gemmbench_results.store import open_store

GOLDEN = Path(__file__).parent.parent / "golden" / "schema_0001.db"


@pytest.fixture
def server():
    """The engine of an empty database."""
    place = os.environ.get("GEMMBENCH_TEST_DB")
    if not place:
        pytest.skip("GEMMBENCH_TEST_DB names no database")
    engine = create_engine(place)
    with engine.begin() as connection:
        for view in inspect(connection).get_view_names():
            connection.exec_driver_sql(f"DROP VIEW {view} CASCADE")
        found = MetaData()
        found.reflect(connection)
        found.drop_all(connection)
    yield engine
    engine.dispose()


def test_schema_and_newest_revision_are_the_same_there(server):
    with server.begin() as connection:
        migrations.upgrade(connection)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_rows_of_the_first_revision_are_read_after_an_upgrade_as_in_a_file(server, tmp_path):
    fill(server)
    place = os.environ["GEMMBENCH_TEST_DB"]
    assert store_info(place).revision == "0001"
    file = tmp_path / "results.db"
    file.write_bytes(GOLDEN.read_bytes())
    with open_store(place) as there, open_store(str(file)) as here:
        assert there.runs() == here.runs()
        (run,) = there.runs()
        assert there.trials(run.number) == here.trials(run.number) != []
    assert store_info(place).revision == migrations.known_revisions()[0]


def test_every_revision_can_be_undone_there(server):
    with server.begin() as connection:
        migrations.upgrade(connection)
        config = Config()
        config.set_main_option("script_location", str(migrations.HERE))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert inspect(connection).get_view_names() == []
        assert inspect(connection).get_table_names() == ["alembic_version"]


def fill(server):
    """Copy the golden file's rows into the first revision's tables."""
    file, golden, made = create_engine(f"sqlite:///{GOLDEN}"), MetaData(), MetaData()
    with file.connect() as source, server.begin() as target:
        migrations.upgrade(target, "0001")
        golden.reflect(source)
        made.reflect(target)
        for table in made.sorted_tables:
            rows = [
                dict(row) for row in source.execute(golden.tables[table.name].select()).mappings()
            ]
            if rows and table.name != "alembic_version":
                target.execute(table.insert(), rows)
    file.dispose()
