"""The store: runs, trials and samples in SQL, each trial committed before the next one starts.

It implements the core's `Recorder` and knows nothing of backends, races or the terminal. A file
is made by the first run that is begun, brought up to date when opened, and never half-written:
creating and upgrading are one transaction each.
"""

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Select, select, update

import gemmbench
from gemmbench.comparison import Comparison, GateVerdict
from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine
from gemmbench.measurement import Measurement
from gemmbench.problem import Problem
from gemmbench.software import Software, software_to_data
from gemmbench.space import Config
from gemmbench.trial import Contender, Evaluation, RaceProtocol, Trial, TrialState
from gemmbench_results import queries, rows, schema, tables
from gemmbench_results.database import Database, locate
from gemmbench_results.fingerprint import fingerprint
from gemmbench_results.inserting import delete_provisional, id_of, insert, insert_trial
from gemmbench_results.runs import Run, run_from_row, select_runs


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
            tables.create(self._database)
            self._exists = True
        with self._database.writing() as connection:
            machine_id = id_of(connection, schema.machine, "key", rows.machine_to_row(machine))
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
            return insert(connection, schema.run, values)

    def record(self, run: int, trial: Trial) -> None:
        """Keep `trial` and its samples; committed when this returns."""
        with self._database.writing() as connection:
            insert_trial(connection, run, trial)

    def compared(
        self, run: int, comparison: Comparison, identity: str, base: Trial, head: Trial
    ) -> None:
        """Keep a comparison with both sides and all their samples; committed when this returns.

        It replaces an UNDECIDED one of the same identity in the same run, its samples included.
        """
        with self._database.writing() as connection:
            delete_provisional(connection, run, identity)
            values = {
                "run_id": run,
                "base_trial_id": insert_trial(connection, run, base),
                "head_trial_id": insert_trial(connection, run, head),
                "identity": identity,
                **rows.comparison_to_row(comparison),
            }
            insert(connection, schema.comparison, values)

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
        query = queries.interrupted_comparison(run, identity)
        with self._database.writing() as connection:
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                return None
            copied = {**row, "run_id": run}
            del copied["id"]
            insert(connection, schema.comparison, copied)
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
        query = queries.best_config(machine, protocol, problem, contender, source_hash)
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
        if not self._exists:
            return []
        same = (machine.key(), rows.comparable_key(protocol))
        with self._database.reading() as connection:
            found = connection.execute(queries.evaluations(contender)).mappings().all()
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
        query = queries.races(machine, protocol, problem)
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
        return self._runs(select_runs())

    def run(self, number: int) -> Run:
        """The run with that number. Raises GemmbenchError if there is none."""
        runs = self._runs(select_runs().where(schema.run.c.id == number))
        if not runs:
            raise GemmbenchError(f"{self.name}: there is no run {number}.")
        return runs[0]

    def latest_run(self, purpose: str = "") -> Run | None:
        """The run begun last that holds a trial of that purpose, "" for any run; None without."""
        return self._newest(queries.newest_run(purpose))

    def latest_timed_run(self, purpose: str) -> Run | None:
        """The run begun last of which a trial of that purpose was timed, and right; None without.

        A search or a race in which everything failed is no such run.
        """
        return self._newest(queries.newest_timed_run(purpose))

    def trials(self, run: int, problem: Problem | None = None) -> list[Trial]:
        """Trials of a run, or those of one problem, with all their samples, in recorded order."""
        if not self._exists:
            return []
        found, samples = queries.trials(run, problem)
        with self._database.reading() as connection:
            measurements = queries.measurements(connection.execute(samples))
            return [
                rows.trial_from_row(dict(row), measurements.get(row["id"], Measurement()))
                for row in connection.execute(found).mappings()
            ]

    def read(self, query: Select[Any]) -> list[dict[str, Any]]:
        """Rows of `query` by column name; none from an empty store."""
        if not self._exists:
            return []
        with self._database.reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _newest(self, number: Select[Any]) -> Run | None:
        runs = self._runs(select_runs().where(schema.run.c.id == number.scalar_subquery()))
        return runs[0] if runs else None

    def _runs(self, query: Select[Any]) -> list[Run]:
        return [run_from_row(row) for row in self.read(query)]

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
        return Store(database, exists=tables.bring_up_to_date(database))
    except BaseException:
        database.engine.dispose()
        raise
