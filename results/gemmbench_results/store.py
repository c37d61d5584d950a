"""The store: runs, trials and samples in SQL, each trial committed before the next one starts.

It implements the core's `Recorder` and knows nothing of backends, races or the terminal. A file
is made by the first run that is begun, brought up to date when opened, and never half-written:
creating and upgrading are one transaction each.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import TracebackType
from typing import Any, Self

from sqlalchemy import (
    ColumnElement,
    Connection,
    Result,
    Select,
    Table,
    delete,
    exc,
    func,
    insert,
    or_,
    select,
    update,
)

import gemmbench
from gemmbench.comparison import Comparison, GateVerdict
from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine
from gemmbench.measurement import Measurement
from gemmbench.problem import Problem
from gemmbench.software import Software, software_from_data, software_to_data
from gemmbench.space import Config
from gemmbench.trial import (
    FEWEST_EVALUATIONS,
    Contender,
    Evaluation,
    RaceProtocol,
    Trial,
    TrialState,
)
from gemmbench_results import migrations, rows, schema
from gemmbench_results.database import Database, locate
from gemmbench_results.fingerprint import fingerprint

MOST_RACES = 50  # of one problem that are read back to find its winner
INTERRUPTED = 130  # exit code of a run that was cut short
MOST_EVALUATIONS = 20_000  # of one kernel that are read back; newer ones count for more


@dataclass(frozen=True, slots=True)
class Run:
    """One command's execution on one machine. Times are ISO 8601 in UTC."""

    number: int
    command: str
    machine: Machine
    protocol: RaceProtocol
    seed: int
    gemmbench_version: str
    started_at: str
    ended_at: str | None  # None while it runs, and for ever if it was killed
    exit_code: int | None
    software: Software | None = None  # None: stored before gemmbench kept it


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


class Store:
    """Runs, trials and samples in one database. Made by `open_store`."""

    def __init__(self, database: Database, *, exists: bool) -> None:
        self._database = database
        self._exists = exists  # False until the tables are there; nothing is read before

    @property
    def name(self) -> str:
        """The path or URL, without a password."""
        return self._database.name

    def begin(
        self,
        command: str,
        machine: Machine,
        protocol: RaceProtocol,
        seed: int,
        software: Software | None = None,
    ) -> int:
        """The number of a new run; makes the folder, the file and its tables if need be.

        Raises GemmbenchError where the database is locked or can't be written.
        """
        if not self._exists:
            _create(self._database)
            self._exists = True
        with self._database.writing() as connection:
            machine_id = _id_of(connection, schema.machine, "key", rows.machine_to_row(machine))
            values = {
                "machine_id": machine_id,
                "command": command,
                "started_at": rows.now(),
                "gemmbench_version": gemmbench.__version__,
                "seed": seed,
                "protocol": rows.protocol_to_data(protocol),
                "protocol_key": rows.comparable_key(protocol),
                "fill": protocol.fill,
                "cache": protocol.cache,
                "software": None if software is None else software_to_data(software),
                "fingerprint": fingerprint(machine, software, protocol).key(),
            }
            return _insert(connection, schema.run, values)

    def record(self, run: int, trial: Trial) -> None:
        """Keep `trial` and its samples; committed when this returns."""
        with self._database.writing() as connection:
            _insert_trial(connection, run, trial)

    def compared(
        self, run: int, comparison: Comparison, identity: str, base: Trial, head: Trial
    ) -> None:
        """Keep a comparison with both sides and all their samples; committed when this returns.

        It replaces an UNDECIDED one of the same identity in the same run, its samples included.
        """
        with self._database.writing() as connection:
            _delete_provisional(connection, run, identity)
            values = {
                "run_id": run,
                "base_trial_id": _insert_trial(connection, run, base),
                "head_trial_id": _insert_trial(connection, run, head),
                "identity": identity,
                **rows.comparison_to_row(comparison),
            }
            _insert(connection, schema.comparison, values)

    def comparisons(self, run: int) -> list[Comparison]:
        """The comparisons of a run in the order they were decided, its control among them."""
        if not self._exists:
            return []
        own = schema.comparison.c
        query = select(schema.comparison).where(own.run_id == run).order_by(own.id)
        with self._database.reading() as connection:
            found = connection.execute(query).mappings()
            return [rows.comparison_from_row(dict(row)) for row in found]

    def resumed(self, run: int, identity: str) -> Comparison | None:
        """The newest decided comparison of an interrupted run with that identity, in `run` too now.

        A run is interrupted if it has no end or ended so. None if there is no such comparison.
        """
        own, runs = schema.comparison.c, schema.run.c
        query = (
            select(schema.comparison)
            .join_from(schema.comparison, schema.run)
            .where(
                own.identity == identity,
                own.run_id != run,
                own.verdict != str(GateVerdict.UNDECIDED),
                or_(runs.exit_code.is_(None), runs.exit_code == INTERRUPTED),
            )
            .order_by(own.id.desc())
            .limit(1)
        )
        with self._database.writing() as connection:
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                return None
            copied = {**row, "run_id": run}
            del copied["id"]
            _insert(connection, schema.comparison, copied)
            return rows.comparison_from_row(dict(row))

    def withdraw(self, run: int) -> None:
        """Make every verdict of `run` but the control's UNDECIDED, whose machine was too noisy."""
        own = schema.comparison.c
        query = update(schema.comparison).where(own.run_id == run, own.identity != "")
        with self._database.writing() as connection:
            connection.execute(query.values(verdict=str(GateVerdict.UNDECIDED)))

    def end(self, run: int, exit_code: int) -> None:
        """Note that the run is over."""
        with self._database.writing() as connection:
            query = update(schema.run).where(schema.run.c.id == run)
            connection.execute(query.values(ended_at=rows.now(), exit_code=exit_code))

    def best_config(
        self,
        machine: Machine,
        protocol: RaceProtocol,
        problem: Problem,
        contender: Contender,
        source_hash: str,
    ) -> Config | None:
        """The fastest config of the newest run that raced one after a search, or a tuned one.

        For the same problem, machine, source, threads and protocol; None if there is none. It is
        the default where a search found nothing faster that may win.
        """
        trial = schema.trial.c
        own = (
            *_comparable(machine, protocol, problem),
            trial.state == str(TrialState.COMPLETE),
            trial.backend == contender.backend,
            trial.algorithm == contender.algorithm,
            trial.weights == contender.weights,
            trial.source_hash == source_hash,
            trial.threads == protocol.threads,
        )
        searched = (
            _trials(trial.run_id)
            .where(*own, trial.purpose == "tune")
            .group_by(trial.run_id)
            .having(func.count() >= FEWEST_EVALUATIONS)
        )
        tuned = _trials(trial.run_id).where(*own, trial.purpose == "race", trial.tuned)
        query = (
            _trials(trial.config)
            .where(*own, trial.purpose == "race")
            .where(or_(trial.error_limit.is_(None), trial.relative_error <= trial.error_limit))
            .where(or_(trial.run_id.in_(searched), trial.run_id.in_(tuned)))
            .order_by(trial.run_id.desc(), trial.seconds_median, trial.id.desc())
            .limit(1)
        )
        if not self._exists:
            return None
        with self._database.reading() as connection:
            config: Config | None = connection.execute(query).scalar_one_or_none()
        return config

    def evaluations(
        self, machine: Machine, protocol: RaceProtocol, contender: Contender
    ) -> list[Evaluation]:
        """What searches measured of the kernel that `contender` names, on anything, oldest first.

        The newest `MOST_EVALUATIONS` of them.
        """
        trial, run = schema.trial.c, schema.run.c
        query = (
            select(schema.trial, run.protocol_key, schema.machine.c.key, schema.problem.c.canonical)
            .join_from(schema.trial, schema.run)
            .join(schema.machine)
            .join(schema.problem)
            .where(
                trial.purpose.in_(("tune", "share")),
                trial.state != str(TrialState.SKIPPED),
                trial.backend == contender.backend,
                trial.algorithm == contender.algorithm,
                trial.weights == contender.weights,
            )
            .order_by(trial.id.desc())
            .limit(MOST_EVALUATIONS)
        )
        if not self._exists:
            return []
        same = (machine.key(), rows.comparable_key(protocol))
        with self._database.reading() as connection:
            found = connection.execute(query).mappings().all()
        environment = rows.environment_to_data(contender.environment)
        return [
            rows.evaluation_from_row(dict(row), here=(row["key"], row["protocol_key"]) == same)
            for row in reversed(found)
            if row["environment"] == environment
        ]

    def races(
        self, machine: Machine, protocol: RaceProtocol, problem: Problem
    ) -> Iterator[tuple[int, list[Trial]]]:
        """The newest `MOST_RACES` runs that timed `problem` comparably, with its race trials.

        The newest first; they are read one after another, as they are asked for.
        """
        trial = schema.trial.c
        query = (
            _trials(trial.run_id)
            .where(
                *_comparable(machine, protocol, problem),
                trial.state == str(TrialState.COMPLETE),
                trial.purpose == "race",
            )
            .distinct()
            .order_by(trial.run_id.desc())
            .limit(MOST_RACES)
        )
        if not self._exists:
            return
        with self._database.reading() as connection:
            numbers = connection.execute(query).scalars().all()
        for number in numbers:
            found = [t for t in self.trials(number, problem) if t.purpose == "race"]
            # Twin layers race one after the other: only one of those races is comparable.
            # A backend skipped for a later twin, whose race was cut short, is no race.
            last = [t for t in found if t.state is TrialState.COMPLETE][-1]
            yield number, [t for t in found if (t.suite, t.layer) == (last.suite, last.layer)]

    def runs(self) -> list[Run]:
        """Every run, oldest first."""
        return self._runs(_runs())

    def run(self, number: int) -> Run:
        """The run with that number. Raises GemmbenchError if there is none."""
        runs = self._runs(_runs().where(schema.run.c.id == number))
        if not runs:
            raise GemmbenchError(f"{self.name}: there is no run {number}.")
        return runs[0]

    def latest_run(self, purpose: str = "") -> Run | None:
        """The run begun last that holds a trial of that purpose, "" for any run; None without."""
        newest = select(func.max(schema.run.c.id))
        if purpose:
            own = schema.trial.c
            newest = select(func.max(own.run_id)).where(own.purpose == purpose)
        runs = self._runs(_runs().where(schema.run.c.id == newest.scalar_subquery()))
        return runs[0] if runs else None

    def trials(self, run: int, problem: Problem | None = None) -> list[Trial]:
        """Trials of a run, or those of one problem, with all their samples, in recorded order."""
        if not self._exists:
            return []
        trial, sample = schema.trial, schema.sample
        trials = select(trial, schema.problem.c.canonical).join(schema.problem)
        samples = select(sample).join(trial).where(trial.c.run_id == run)
        if problem is not None:
            text = rows.problem_to_row(problem)["canonical"]
            same = select(schema.problem.c.id).where(schema.problem.c.canonical == text)
            only = trial.c.problem_id == same.scalar_subquery()
            trials, samples = trials.where(only), samples.where(only)
        with self._database.reading() as connection:
            measurements = _measurements(
                connection.execute(samples.order_by(sample.c.trial_id, sample.c.position))
            )
            found = connection.execute(trials.where(trial.c.run_id == run).order_by(trial.c.id))
            return [
                rows.trial_from_row(dict(row), measurements.get(row["id"], Measurement()))
                for row in found.mappings()
            ]

    def read(self, query: Select[Any]) -> list[dict[str, Any]]:
        """Rows of `query` by column name; none from an empty store."""
        if not self._exists:
            return []
        with self._database.reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _runs(self, query: Select[Any]) -> list[Run]:
        return [_run(row) for row in self.read(query)]

    def close(self) -> None:
        """Close every connection; SQLite folds its write-ahead log back into the file."""
        self._database.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _trials(*columns: ColumnElement[Any]) -> Select[Any]:
    """A query of these columns over trials with their run, machine and problem."""
    joined = select(*columns).join_from(schema.trial, schema.run)
    return joined.join(schema.machine).join(schema.problem)


def _comparable(
    machine: Machine, protocol: RaceProtocol, problem: Problem
) -> tuple[ColumnElement[bool], ...]:
    """What holds for a trial of `problem` on `machine` under a comparable protocol."""
    return (
        schema.run.c.protocol_key == rows.comparable_key(protocol),
        schema.machine.c.key == machine.key(),
        schema.problem.c.canonical == rows.problem_to_row(problem)["canonical"],
    )


def open_store(place: str | os.PathLike[str], *, create: bool = True) -> Store:
    """The store at a SQLAlchemy URL or a path, upgraded to the newest schema.

    Nothing is made before the first `begin`. Raises GemmbenchError for a place that can't be a
    store: a bad URL, a missing driver, a folder, a file that is no SQLite database or another
    program's, one of a newer gemmbench; and, with `create` False, one that does not exist.
    """
    database = locate(place)
    if database.path is not None and not database.path.exists():
        if not create:
            raise GemmbenchError(
                f"{database.name}: there is no such database. Run 'gemmbench run SUITE' first, or "
                "name another with --db."
            )
        return Store(database, exists=False)
    try:
        return Store(database, exists=_bring_up_to_date(database))
    except BaseException:
        database.engine.dispose()
        raise


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
        revision = _readable_revision(database)
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


def _readable_revision(database: Database) -> str | None:
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


def _bring_up_to_date(database: Database) -> bool:
    """Whether the tables exist, after upgrading them; an empty database is left empty."""
    revision = _readable_revision(database)
    if revision is not None and revision != migrations.known_revisions()[0]:
        with database.writing() as connection:
            migrations.upgrade(connection)
    return revision is not None


def _create(database: Database) -> None:
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


def _id_of(connection: Connection, table: Table, unique: str, values: Mapping[str, Any]) -> int:
    """Id of the row whose `unique` column has that value, inserted if it is new."""
    query = select(table.c.id).where(table.c[unique] == values[unique])
    found: int | None = connection.execute(query).scalar_one_or_none()
    if found is not None:
        return found
    try:
        with connection.begin_nested():
            return _insert(connection, table, values)
    except exc.IntegrityError:  # another process was faster
        return int(connection.execute(query).scalar_one())


def _delete_provisional(connection: Connection, run: int, identity: str) -> None:
    """Delete what was kept of a comparison before it was decided. The control has no identity."""
    own, trial, sample = schema.comparison.c, schema.trial, schema.sample
    provisional = (
        own.run_id == run,
        own.identity == identity,
        own.identity != "",
        own.verdict == str(GateVerdict.UNDECIDED),
    )
    found = connection.execute(
        select(own.base_trial_id, own.head_trial_id).where(*provisional)
    ).all()
    sides = [number for row in found for number in row]
    if sides:
        connection.execute(delete(schema.comparison).where(*provisional))
        connection.execute(delete(sample).where(sample.c.trial_id.in_(sides)))
        connection.execute(delete(trial).where(trial.c.id.in_(sides)))


def _insert_trial(connection: Connection, run: int, trial: Trial) -> int:
    """Id of the new trial, its samples kept with it."""
    row = rows.problem_to_row(trial.problem)
    problem_id = _id_of(connection, schema.problem, "canonical", row)
    values = {"run_id": run, "problem_id": problem_id, **rows.trial_to_row(trial)}
    trial_id = _insert(connection, schema.trial, values)
    samples = rows.sample_rows(trial_id, trial.measurement)
    if samples:
        connection.execute(insert(schema.sample), samples)
    return trial_id


def _insert(connection: Connection, table: Table, values: Mapping[str, Any]) -> int:
    """Id of the new row."""
    key: Sequence[Any] | None = connection.execute(
        insert(table).values(values)
    ).inserted_primary_key
    if key is None:
        raise RuntimeError(f"{table.name}: the database gave the new row no id")
    return int(key[0])


def _measurements(samples: Result[Any]) -> dict[int, Measurement]:
    """Measurements by trial id, from samples in the order of trial and position."""
    found = [dict(row) for row in samples.mappings()]
    return {
        trial: rows.measurement_from_rows(own)
        for trial, own in groupby(found, lambda row: row["trial_id"])
    }


def _runs() -> Select[Any]:
    """Every run with its machine, oldest first."""
    machine = [column for column in schema.machine.c if column.name != "id"]
    return select(schema.run, *machine).join(schema.machine).order_by(schema.run.c.id)


def _run(row: Mapping[str, Any]) -> Run:
    return Run(
        number=row["id"],
        command=row["command"],
        machine=rows.machine_from_row(row),
        protocol=rows.protocol_from_data(row["protocol"]),
        seed=row["seed"],
        gemmbench_version=row["gemmbench_version"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        exit_code=row["exit_code"],
        software=None if row["software"] is None else software_from_data(row["software"]),
    )
