"""A stored run as a value: one command's execution, with its machine and its protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select

from gemmbench.machine import Machine
from gemmbench.software import Software, software_from_data
from gemmbench.trial import RaceProtocol
from gemmbench_results import rows, schema


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


def select_runs() -> Select[Any]:
    """Every run with its machine, oldest first."""
    machine = [column for column in schema.machine.c if column.name != "id"]
    return select(schema.run, *machine).join(schema.machine).order_by(schema.run.c.id)


def run_from_row(row: Mapping[str, Any]) -> Run:
    """The run in `row` (columns of run and machine)."""
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
