"""From what the user wrote after `--db` to a database engine, and from its errors to one line.

Opening writes nothing: a folder or a file is made only when there is a first run to keep.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event, exc, make_url

from gemmbench.errors import GemmbenchError

BUSY_SECONDS = 5.0  # wait for another writer; one commit takes milliseconds
WRITE = "gemmbench_write"  # marks a connection whose transaction begins by locking for writing

DRIVER_PACKAGES = {  # imported name -> what pip calls it, where they differ
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
}

SQLITE_REMEDIES = {  # start of SQLite's error name -> what is wrong and what to do
    "SQLITE_BUSY": "is locked: another program is writing to it. Wait until that ends, or use "
    "another --db.",
    "SQLITE_LOCKED": "is locked: another program is writing to it. Wait until that ends, or use "
    "another --db.",
    "SQLITE_READONLY": "is read-only. Make it and its folder writable, or use another --db.",
    "SQLITE_PERM": "may not be written. Make it and its folder writable, or use another --db.",
    "SQLITE_CANTOPEN": "cannot be opened. Check that its folder exists and is writable, or use "
    "another --db.",
    "SQLITE_NOTADB": "is not a SQLite database. Use another --db.",
    "SQLITE_CORRUPT": "is damaged. Restore a copy, or use another --db.",
    "SQLITE_FULL": "cannot grow: the disk is full. Free some space, or use another --db.",
    "SQLITE_IOERR": "cannot be read or written: input/output error. Check the disk, or use "
    "another --db.",
}


@dataclass(frozen=True, slots=True)
class Database:
    """An engine, the name that errors call it by, and its file where it is one."""

    engine: Engine
    name: str
    path: Path | None = None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection in a transaction. Raises GemmbenchError where the database can't be used."""
        with self._one_line_errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction that is committed at the end, rolled back on an error.

        Raises GemmbenchError where the database is locked, read-only or can't be used.
        """
        engine = self.engine.execution_options(**{WRITE: True})
        with self._one_line_errors(), engine.begin() as connection:
            yield connection

    def use_write_ahead_log(self) -> None:
        """Let readers and a writer of a SQLite file work at once; the file keeps the mode.

        Not insisted on: while another process writes the mode can't change, and without it
        everything works, only with more waiting.
        """
        if self.path is None:
            return
        # Not a SQLAlchemy connection: the mode can't change within a transaction.
        with closing(self.engine.raw_connection()) as connection:
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                return

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except exc.DatabaseError as error:
            message = _explain(error)
            if message is None:
                raise
            raise GemmbenchError(f"{self.name} {message}") from error


def locate(place: str | os.PathLike[str]) -> Database:
    """The database at a SQLAlchemy URL or a path; nothing is written and no query is sent.

    Raises GemmbenchError for a bad URL, a missing driver, or a path that can't hold a database.
    """
    url = _parse(place)
    name = url.render_as_string(hide_password=True)
    path = _file_of(url)
    if path is not None:
        name = str(path)
        _check_file(path)
    return Database(_engine(url, name), name, path)


def _parse(place: str | os.PathLike[str]) -> URL:
    text = os.fspath(place)
    if not text:
        raise GemmbenchError("--db: got '', expected a path or a SQLAlchemy URL.")
    if "://" not in text:
        path = text if text == ":memory:" else str(Path(text).expanduser())
        return URL.create("sqlite", database=path)
    try:
        return make_url(text)
    except (exc.ArgumentError, ValueError) as error:
        raise GemmbenchError(
            f"--db: got {text!r}, which is no SQLAlchemy URL. Use a path, or a URL such as "
            "sqlite:///results.db or postgresql://user@host/name."
        ) from error


def _file_of(url: URL) -> Path | None:
    """The file of a SQLite URL; None in memory, for `file:` URIs and for other databases."""
    in_memory = url.database in (None, "", ":memory:")
    if url.get_backend_name() != "sqlite" or in_memory or "uri" in url.query:
        return None
    return Path(str(url.database))


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise GemmbenchError(
            f"{path}: got a folder, expected a database file. Name a file in it, such as "
            f"{path / 'gemmbench.db'}."
        )
    if path.exists() and not path.is_file():
        raise GemmbenchError(f"{path}: is no regular file. Use another --db.")
    if path.exists():
        return
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise GemmbenchError(f"{path}: {folder} is a file, not a folder. Use another --db.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise GemmbenchError(f"{path}: the folder {folder} is read-only. Use another --db.")


def _engine(url: URL, name: str) -> Engine:
    sqlite = url.get_backend_name() == "sqlite"
    options: dict[str, object] = {}
    if sqlite and "timeout" not in url.query:
        options["connect_args"] = {"timeout": BUSY_SECONDS}
    if sqlite and url.database in (None, "", ":memory:"):
        options["poolclass"] = StaticPool
    try:
        engine = create_engine(url, **options)
    except ModuleNotFoundError as error:
        package = DRIVER_PACKAGES.get(str(error.name), error.name)
        raise GemmbenchError(
            f"--db {name}: its driver is not installed. Run: pip install '{package}'"
        ) from error
    except (exc.NoSuchModuleError, exc.ArgumentError, TypeError, ValueError) as error:
        raise GemmbenchError(
            f"--db: got {name!r}, which SQLAlchemy cannot use: {_first_line(error)}. Use a "
            "path, or a URL such as sqlite:///results.db or postgresql://user@host/name."
        ) from error
    if engine.dialect.is_async:
        raise GemmbenchError(f"--db {name}: {engine.driver} is asynchronous. Use another driver.")
    if sqlite:
        _set_up_sqlite(engine)
    return engine


def _set_up_sqlite(engine: Engine) -> None:
    """Foreign keys, and real transactions: Python's driver would leave DDL outside of them."""

    @event.listens_for(engine, "connect")
    def connected(dbapi: sqlite3.Connection, _record: object) -> None:
        dbapi.isolation_level = None  # BEGIN is ours, below
        dbapi.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def began(connection: Connection) -> None:
        # A transaction that reads before it writes cannot wait for another writer, so a writer
        # takes the lock first, when waiting (busy_timeout) still works.
        immediate = connection.get_execution_options().get(WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _explain(error: exc.DatabaseError) -> str | None:
    """What is wrong and what to do, None where the error is a defect of gemmbench."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorname", "")
        return next(
            (text for start, text in SQLITE_REMEDIES.items() if code.startswith(start)), None
        )
    if isinstance(error, exc.OperationalError):
        return f"cannot be used: {_first_line(original)}. Check the URL and the server."
    return None


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
