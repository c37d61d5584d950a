"""Each schema revision has a small database in tests/golden/ that must go on being readable.

schema_0001.db and schema_0002.db were made by those revisions themselves and hold `STORED`.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine
from gemmbench.measurement import Measurement, Sample
from gemmbench.problem import Conv2d, Gemm, Linear
from gemmbench.trial import Contender, RaceProtocol, Trial, TrialState
from gemmbench_results import migrations, schema
from gemmbench_results.database import locate
from gemmbench_results.history import read_history
from gemmbench_results.inspection import store_info, upgrade_store
from gemmbench_results.store import open_store

GOLDENS = Path(__file__).parent.parent / "golden"
GOLDEN = GOLDENS / "schema_0001.db"

MACHINE = Machine(
    "Example CPU 3000", "zen4", ("avx2", "fma"), 2, 32768, 1048576, 33554432, 8589934592, "Linux"
)
PROTOCOL = RaceProtocol(threads=2, seed=3, notes=("first",))
STORED = [
    Trial(
        "alexnet", "conv2", Conv2d(10, 96, 27, 27, 256, (5, 5), pad=(2, 2), groups=2),
        Contender("numba", "im2col", config={"mr": 8, "nv": 3, "copy": True}, tuned=True),
        TrialState.COMPLETE, threads=2, library="numba 0.66", source_hash="abc", max_error=1e-6,
        error_bound=2e-6, stages={"im2col": 0.001, "multiply": 0.01}, workspace_bytes=6998400,
        measurement=Measurement((Sample(0.02, 2), Sample(0.04, 4, 1, 3), Sample(0.03, 3, 2, 5))),
        own_flops=4478976000, peak_flops=2.1e11,
    ),
    Trial(
        "alexnet", "fc6", Linear(10, 9216, 4096), Contender("./k.py:Quick", "gemm"),
        TrialState.WRONG, "the last term of k is missing", max_error=float("inf"), error_bound=0.0,
    ),
    Trial(
        "warden", "warden", Gemm(256, 1152, 192, "float64"),
        Contender("numba", "gemm", config={"mr": 4}), TrialState.COMPLETE, purpose="tune",
        measurement=Measurement((Sample(0.125, 64),)),
    ),
]  # fmt: skip


@pytest.fixture
def old(tmp_path):
    return Path(shutil.copy(GOLDEN, tmp_path / "results.db"))


def test_schema_and_newest_revision_are_the_same():
    database = locate(":memory:")
    with database.writing() as connection:
        migrations.upgrade(connection)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    database.engine.dispose()


def test_revisions_form_one_line():
    assert migrations.known_revisions() == ["0007", "0006", "0005", "0004", "0003", "0002", "0001"]


def test_the_golden_database_is_of_the_first_revision():
    with closing(sqlite3.connect(f"file:{GOLDEN}?immutable=1", uri=True)) as connection:
        query = "SELECT version_num FROM alembic_version"
        assert connection.execute(query).fetchall() == [("0001",)]
        views = "SELECT name FROM sqlite_master WHERE type = 'view'"
        assert connection.execute(views).fetchall() == []


def test_a_database_of_revision_0002_is_read_and_its_software_is_unknown(tmp_path):
    path = Path(shutil.copy(GOLDEN.with_name("schema_0002.db"), tmp_path / "results.db"))
    assert store_info(path).revision == "0002"
    with open_store(path) as store:
        (run,) = store.runs()
        assert (run.software, run.protocol) == (None, PROTOCOL)
        assert store.trials(run.number) == STORED
        assert store.comparisons(run.number) == []
        assert [group.runs for group in read_history(store)] == [(1,)]
    assert store_info(path).revision == "0007"


def test_a_database_of_the_first_revision_is_upgraded_when_opened(old):
    assert store_info(old).revision == "0001"
    with open_store(old) as store:
        (run,) = store.runs()
        assert (run.machine, run.protocol, run.seed) == (MACHINE, PROTOCOL, 3)
        assert store.trials(run.number) == STORED
        with store._database.reading() as connection:
            best = connection.exec_driver_sql("SELECT layer, ms FROM best").all()
        assert best == [("conv2", 10.0)]
    assert store_info(old).revision == "0007"


def test_an_upgraded_database_is_written_like_a_new_one(old):
    with open_store(old) as store:
        run = store.begin("gemmbench run alexnet", MACHINE, PROTOCOL, 0)
        store.record(run, STORED[0])
        assert store.trials(run) == STORED[:1]


def test_asking_does_not_upgrade(old):
    before = old.read_bytes()
    info = store_info(old)
    assert (info.revision, info.newest_revision) == ("0001", "0007")
    assert (info.runs, info.trials, info.samples) == (1, 3, 4)
    assert old.read_bytes() == before


def test_upgrade_tells_both_revisions(old):
    assert upgrade_store(old) == ("0001", "0007")
    assert upgrade_store(old) == ("0007", "0007")


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(old, monkeypatch):
    with closing(sqlite3.connect(old)) as connection, connection:
        # The second view of revision 0002 will find its name taken.
        connection.execute("CREATE TABLE latest (a)")
    with pytest.raises(Exception, match="latest"):
        open_store(old)
    with closing(sqlite3.connect(old)) as connection:
        assert (
            connection.execute("SELECT name FROM sqlite_master WHERE name = 'best'").fetchall()
            == []
        )
    assert store_info(old).revision == "0001"


def test_an_upgrade_of_a_locked_database_says_so(old):
    with closing(sqlite3.connect(old, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(GemmbenchError, match="is locked"):
            open_store(f"sqlite:///{old}?timeout=0")


def test_every_revision_can_be_undone():
    from alembic import command
    from alembic.config import Config

    database = locate(":memory:")
    with database.writing() as connection:
        migrations.upgrade(connection)
        config = Config()
        config.set_main_option("script_location", str(migrations.HERE))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        left = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE%'")
        assert left.scalars().all() == ["alembic_version"]
    database.engine.dispose()
