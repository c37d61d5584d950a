"""New rows, and those that they replace, within a transaction that the store has opened."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, exc, select
from sqlalchemy import insert as insert_into

from gemmbench.comparison import GateVerdict
from gemmbench.trial import Trial
from gemmbench_results import rows, schema


def id_of(connection: Connection, table: Table, unique: str, values: Mapping[str, Any]) -> int:
    """Id of the row whose `unique` column has that value, inserted if it is new."""
    query = select(table.c.id).where(table.c[unique] == values[unique])
    found: int | None = connection.execute(query).scalar_one_or_none()
    if found is not None:
        return found
    try:
        with connection.begin_nested():
            return insert(connection, table, values)
    except exc.IntegrityError:  # another process was faster
        return int(connection.execute(query).scalar_one())


def delete_provisional(connection: Connection, run: int, identity: str) -> None:
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


def insert_trial(connection: Connection, run: int, trial: Trial) -> int:
    """Id of the new trial, its samples kept with it."""
    row = rows.problem_to_row(trial.problem)
    problem_id = id_of(connection, schema.problem, "canonical", row)
    values = {"run_id": run, "problem_id": problem_id, **rows.trial_to_row(trial)}
    trial_id = insert(connection, schema.trial, values)
    samples = rows.sample_rows(trial_id, trial.measurement)
    if samples:
        connection.execute(insert_into(schema.sample), samples)
    return trial_id


def insert(connection: Connection, table: Table, values: Mapping[str, Any]) -> int:
    """Id of the new row."""
    key: Sequence[Any] | None = connection.execute(
        insert_into(table).values(values)
    ).inserted_primary_key
    if key is None:
        raise RuntimeError(f"{table.name}: the database gave the new row no id")
    return int(key[0])
