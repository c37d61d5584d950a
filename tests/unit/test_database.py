"""What can be wrong with a place for results, and what happens to a file that two share."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine
from gemmbench.trial import RaceProtocol
from gemmbench_results.inspection import store_info, upgrade_store
from gemmbench_results.store import open_store

MACHINE = Machine("Example CPU", "zen4", (), 2, 1, 1, 1, 1, "Linux")

RECORD = """
import os, sys
from gemmbench.machine import Machine
from gemmbench.measurement import Measurement, Sample
from gemmbench.problem import Gemm
from gemmbench.trial import Contender, RaceProtocol, Trial, TrialState
from gemmbench_results import rows
from gemmbench_results.store import open_store

machine = Machine("Example CPU", "zen4", (), 2, 1, 1, 1, 1, "Linux")
measurement = Measurement((Sample(0.25, 10), Sample(0.5, 21)))
trial = Trial("s", "l", Gemm(2, 3, 4), Contender("b", "gemm"), TrialState.COMPLETE,
              measurement=measurement)
print("ready", flush=True)
sys.stdin.readline()
store = open_store(sys.argv[1])
run = store.begin("x", machine, RaceProtocol(), 0)
for _ in range(10):
    store.record(run, trial)
"""
KILLED_WHILE_RECORDING = """
rows.sample_rows = lambda *_: os.kill(os.getpid(), 9)
store.record(run, trial)
"""


def start(script: str, path: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True)


def begin(store) -> int:
    return store.begin("gemmbench run alexnet", MACHINE, RaceProtocol(), 0)


def made(path: Path) -> Path:
    with open_store(path) as store:
        begin(store)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_kill_loses_only_the_trial_being_recorded(tmp_path):
    path = tmp_path / "results.db"
    with start(RECORD + KILLED_WHILE_RECORDING, path) as process:
        process.communicate("go\n")
    assert process.returncode == -signal.SIGKILL
    with open_store(path, create=False) as store:
        (run,) = store.runs()
        found = store.trials(run.number)
    assert len(found) == 10
    assert all(len(trial.measurement.samples) == 2 for trial in found)


def test_two_processes_record_into_one_new_file(tmp_path):
    path = tmp_path / "results.db"
    with start(RECORD, path) as first, start(RECORD, path) as second:
        for process in (first, second):
            assert process.stdout.readline() == "ready\n"
        for process in (first, second):
            process.stdin.write("go\n")
            process.stdin.flush()
    assert (first.returncode, second.returncode) == (0, 0)
    with open_store(path, create=False) as store:
        assert [len(store.trials(run.number)) for run in store.runs()] == [10, 10]


def test_nothing_is_written_before_the_first_run(tmp_path):
    path = tmp_path / "a" / "b" / "results.db"
    with open_store(path) as store:
        assert store.runs() == []
        assert list(tmp_path.iterdir()) == []
        begin(store)
        assert path.is_file()


def test_closing_leaves_one_file(tmp_path):
    made(tmp_path / "results.db")
    assert list(contents(tmp_path)) == ["results.db"]


def test_a_file_is_written_ahead_and_keeps_foreign_keys(tmp_path):
    path = made(tmp_path / "results.db")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with open_store(path) as store, store._database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 5000


def test_a_locked_file_says_so_and_is_left_alone(tmp_path):
    path = made(tmp_path / "results.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with open_store(f"sqlite:///{path}?timeout=0") as store:
            with pytest.raises(GemmbenchError, match=r"results\.db is locked.*Wait.*--db"):
                begin(store)
            assert len(store.runs()) == 1


def test_a_file_locked_for_reading_too_says_so(tmp_path):
    path = tmp_path / "results.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE t (a)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(GemmbenchError, match="is locked"):
            open_store(f"sqlite:///{path}?timeout=0")


def test_a_read_only_database_says_so(tmp_path):
    path = made(tmp_path / "results.db")
    with (
        open_store(f"sqlite:///file:{path}?mode=ro&uri=true") as store,
        pytest.raises(GemmbenchError, match="is read-only"),
    ):
        begin(store)


def test_a_read_only_folder_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root
    with pytest.raises(GemmbenchError, match=rf"the folder {tmp_path} is read-only"):
        open_store(tmp_path / "results.db")


def test_a_folder_that_cannot_be_made_says_so(tmp_path):
    with open_store(tmp_path / "a" / "results.db") as store:
        (tmp_path / "a").write_text("in the way")
        with pytest.raises(GemmbenchError, match="cannot be made: File exists"):
            begin(store)


@pytest.mark.parametrize("text", ["hello", "a" * 5000, "suite: alexnet\n" * 500])
def test_a_file_that_is_no_database_is_left_alone(tmp_path, text):
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(GemmbenchError, match=r"notes\.txt is not a SQLite database"):
        open_store(path)
    assert contents(tmp_path) == {"notes.txt": text.encode()}


def test_a_damaged_database_says_so(tmp_path):
    path = made(tmp_path / "results.db")
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    with pytest.raises(GemmbenchError, match="is damaged"):
        open_store(path)


@pytest.mark.parametrize("ask", [open_store, store_info, upgrade_store])
def test_a_newer_schema_is_left_alone(tmp_path, ask):
    path = made(tmp_path / "results.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = contents(tmp_path)
    with pytest.raises(
        GemmbenchError, match=r"newer gemmbench \(schema 9999\)\. Upgrade gemmbench"
    ):
        ask(path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("tables", [["recipe"], ["trial", "alembic_version"]])
def test_another_programs_database_is_left_alone(tmp_path, tables):
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in tables:
            connection.execute(f"CREATE TABLE {table} (version_num)")
    before = contents(tmp_path)
    with pytest.raises(GemmbenchError, match=f"another program's tables.*{tables[0]}"):
        open_store(path)
    assert contents(tmp_path) == before


def test_an_empty_file_becomes_a_database(tmp_path):
    path = tmp_path / "results.db"
    path.touch()
    with open_store(path) as store:
        assert store.runs() == []
        begin(store)
        assert len(store.runs()) == 1


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("", "got '', expected a path"),
        ("://x", "is no SQLAlchemy URL"),
        ("sqlite:////a/b?timeout=soon", "SQLAlchemy cannot use"),
        ("nosuch://host/name", "SQLAlchemy cannot use"),
        ("sqlite+nosuch:///x", "SQLAlchemy cannot use"),
        (".", "got a folder"),
        ("/dev/null", "is no regular file"),
        ("pyproject.toml/results.db", "is a file, not a folder"),
    ],
)
def test_a_place_that_cannot_be_used_is_one_line(tmp_path, monkeypatch, place, message):
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GemmbenchError, match=message) as caught:
        open_store(place)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "package"),
    [("postgresql+psycopg2://h/x", "psycopg2-binary"), ("mysql+pymysql://h/x", "pymysql")],
)
def test_a_missing_driver_names_what_to_install(monkeypatch, url, package):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(GemmbenchError, match=f"pip install '{package}'"):
        open_store(url)


def test_a_password_is_never_shown(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(GemmbenchError) as caught:
        open_store("postgresql+psycopg2://me:secret@host/name")
    assert "secret" not in str(caught.value)


def test_a_store_that_must_exist_says_how_to_make_it(tmp_path):
    with pytest.raises(GemmbenchError, match=r"no such database\. Run 'gemmbench run SUITE' first"):
        open_store(tmp_path / "results.db", create=False)
