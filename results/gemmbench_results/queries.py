"""What is read back of earlier runs: each question as one query, knowing nothing of connections."""

from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Result, Select, func, or_, select

from gemmbench.comparison import GateVerdict
from gemmbench.machine import Machine
from gemmbench.measurement import Measurement
from gemmbench.problem import Problem
from gemmbench.trial import FEWEST_EVALUATIONS, Contender, RaceProtocol, TrialState
from gemmbench_results import rows, schema

MOST_RACES = 50  # of one problem that are read back to find its winner
MOST_EVALUATIONS = 20_000  # of one kernel that are read back; newer ones count for more
INTERRUPTED = 130  # exit code of a run that was cut short


def best_config(
    machine: Machine,
    protocol: RaceProtocol,
    problem: Problem,
    contender: Contender,
    source_hash: str,
) -> Select[Any]:
    """The fastest config of the newest run that raced one after a search, or a tuned one."""
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
    return (
        _trials(trial.config)
        .where(*own, trial.purpose == "race")
        .where(or_(trial.error_limit.is_(None), trial.relative_error <= trial.error_limit))
        .where(or_(trial.run_id.in_(searched), trial.run_id.in_(tuned)))
        .order_by(trial.run_id.desc(), trial.seconds_median, trial.id.desc())
        .limit(1)
    )


def evaluations(contender: Contender) -> Select[Any]:
    """What searches measured of the kernel that `contender` names, the newest first."""
    trial, run = schema.trial.c, schema.run.c
    return (
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


def races(machine: Machine, protocol: RaceProtocol, problem: Problem) -> Select[Any]:
    """The numbers of the newest runs that timed `problem` comparably, the newest first."""
    trial = schema.trial.c
    return (
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


def trials(run: int, problem: Problem | None) -> tuple[Select[Any], Select[Any]]:
    """The trials of a run, or those of one problem, and the samples of all of them, in order."""
    trial, sample = schema.trial, schema.sample
    found = select(trial, schema.problem.c.canonical).join(schema.problem)
    samples = select(sample).join(trial).where(trial.c.run_id == run)
    if problem is not None:
        text = rows.problem_to_row(problem)["canonical"]
        same = select(schema.problem.c.id).where(schema.problem.c.canonical == text)
        only = trial.c.problem_id == same.scalar_subquery()
        found, samples = found.where(only), samples.where(only)
    return (
        found.where(trial.c.run_id == run).order_by(trial.c.id),
        samples.order_by(sample.c.trial_id, sample.c.position),
    )


def interrupted_comparison(run: int, identity: str) -> Select[Any]:
    """The newest decided comparison of that identity in an interrupted run other than `run`."""
    own, runs = schema.comparison.c, schema.run.c
    return (
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


def newest_run(purpose: str) -> Select[Any]:
    """The number of the run begun last that holds a trial of that purpose, "" for any run."""
    if not purpose:
        return select(func.max(schema.run.c.id))
    own = schema.trial.c
    return select(func.max(own.run_id)).where(own.purpose == purpose)


def newest_timed_run(purpose: str) -> Select[Any]:
    """The number of the run begun last of which a trial of that purpose was timed, and right."""
    return newest_run(purpose).where(schema.trial.c.state == str(TrialState.COMPLETE))


def measurements(samples: Result[Any]) -> dict[int, Measurement]:
    """Measurements by trial id, from samples in the order of trial and position."""
    found = [dict(row) for row in samples.mappings()]
    return {
        trial: rows.measurement_from_rows(own)
        for trial, own in groupby(found, lambda row: row["trial_id"])
    }


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
