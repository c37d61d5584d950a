"""The JSON of `gemmbench run`: schema 1, which other programs rely on."""

from collections.abc import Mapping, Sequence
from math import expm1, inf
from typing import Any

from gemmbench.machine import Machine, machine_to_data
from gemmbench.problem import problem_to_data
from gemmbench.ranking import champions, rank
from gemmbench.roofline import roofline
from gemmbench.stats import Summary, Verdict
from gemmbench.trial import RaceProtocol, Trial
from gemmbench_results.report.render import finite
from gemmbench_results.report.standing import (
    Standing,
    fraction_of_peak,
    gflops,
    standings,
    summary_of,
)
from gemmbench_results.report.table import result_text
from gemmbench_results.rows import protocol_to_data
from gemmbench_results.runs import Run

SCHEMA = 1
MOST_EFFECT = 700.0  # ln ratios beyond it are no finite ratio


def run_json(
    run: Mapping[str, Any], machine: Machine, protocol: RaceProtocol, trials: Sequence[Trial]
) -> dict[str, Any]:
    """A run and its race trials as JSON-able data; numbers that are not finite become None.

    Evaluations of a search are in the store only. `run` is what `run_to_data` gives.
    """
    data = {
        "schema": SCHEMA,
        "run": dict(run),
        "machine": machine_to_data(machine),
        "protocol": protocol_to_data(protocol),
        "trials": trials_data(trials),
        "verdicts": verdicts_data(trials),
    }
    found: dict[str, Any] = finite(data)
    return found


def verdicts_data(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Of each layer and kind of weights: a winner, a tie, or undecided, and between whom."""
    return [
        {"suite": suite, "layer": layer, **verdict_to_data(verdict, own)}
        for (suite, layer), own in _races(trials).items()
        for verdict in rank(own)
        if verdict.kind != "none"
    ]


def trials_data(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Each race trial as recorded, with the speed and the result that the table would give it."""
    told: dict[int, tuple[float | None, str]] = {}  # by identity: twins race in several suites
    for (_, layer), own in _races(trials).items():
        found = standings(own, {layer: rank(own)})[layer]
        pace = {
            one.trial.contender.weights: one.speed * one.summary.median
            for one in found
            if one.summary and one.speed is not None
        }
        stood = {id(one.trial): one for one in found}
        for trial in own:  # of a contender's configs only the fastest stands, the others trail it
            summary, weights = summary_of(trial), trial.contender.weights
            speed = pace[weights] / summary.median if summary else None
            one = stood.get(id(trial), Standing(trial, summary, speed, ""))
            told[id(trial)] = (speed, result_text(one))
    return [
        {**trial_to_data(trial), "speed": told[id(trial)][0], "result": told[id(trial)][1]}
        for trial in trials
        if trial.purpose == "race"
    ]


def _races(trials: Sequence[Trial]) -> dict[tuple[str, str], list[Trial]]:
    """The race trials of each suite's layers, in the order they first appear."""
    layers: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if trial.purpose == "race":
            layers.setdefault((trial.suite, trial.layer), []).append(trial)
    return layers


def verdict_to_data(verdict: Verdict, trials: Sequence[Trial]) -> dict[str, Any]:
    """Who leads, as labels, and by how much: fractions, 0.05 is 5 % faster than the next."""
    weights = trials[verdict.leaders[0]].contender.weights if verdict.leaders else ""
    alone = len(champions(trials, weights)) == 1  # who raced alone has not won anything
    return {
        "weights": weights or None,
        "kind": "alone" if alone else verdict.kind,
        "leaders": [trials[i].contender.label() for i in verdict.leaders],
        "lead": _fraction(verdict.margin),
        "low": _fraction(verdict.low),
        "high": _fraction(verdict.high),
    }


def _fraction(effect: float | None) -> float | None:
    return None if effect is None else expm1(effect) if effect < MOST_EFFECT else inf


def run_to_data(run: Run) -> dict[str, Any]:
    """What is told of a run besides its machine and protocol."""
    return {
        "number": run.number,
        "command": run.command,
        "gemmbench": run.gemmbench_version,
        "seed": run.seed,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "exit_code": run.exit_code,
    }


def trial_to_data(trial: Trial) -> dict[str, Any]:
    """A trial with statistics for its samples; without any unless it is COMPLETE."""
    contender, summary = trial.contender, summary_of(trial)
    return {
        "suite": trial.suite,
        "layer": trial.layer,
        "problem": problem_to_data(trial.problem),
        "backend": contender.backend,
        "library": trial.library,
        "algorithm": contender.algorithm,
        "weights": contender.weights,
        "config": dict(contender.config),
        "state": str(trial.state),
        "reason": trial.reason,
        "max_error": trial.max_error,
        "error_bound": trial.error_bound,
        "relative_error": trial.relative_error,
        "rms_error": trial.rms_error,
        "error_limit": trial.error_limit,
        "seconds": _seconds(summary) if summary else None,
        "gflops": gflops(trial, summary) if summary else None,
        "fraction_of_peak": fraction_of_peak(trial, summary) if summary else None,
        "roofline": _roofline(trial),
        "stages": dict(trial.stages),
        "workspace_bytes": trial.workspace_bytes,
        "call_bytes": trial.call_bytes,
        "cold_ratio": trial.cold_ratio,
        "threads": trial.threads,
        "tuned": contender.tuned,
        **({"device": dict(trial.device)} if trial.device else {}),
    }


def _roofline(trial: Trial) -> dict[str, Any] | None:
    """Both roofs, which of them bounds the call, and the share of it that was reached."""
    found = roofline(trial)
    if found is None:
        return None
    return {
        "intensity": found.intensity,
        "bound": found.bound,
        "fraction": found.share,
        "least_seconds": found.seconds,
        "peak_flops": trial.peak_flops,
        "peak_bytes": trial.peak_bytes,
    }


def _seconds(summary: Summary) -> dict[str, float | int]:
    """Seconds per call, and how many blocks and fresh processes they rest on."""
    return {
        "median": summary.median,
        "low": summary.low,
        "high": summary.high,
        "min": summary.minimum,
        "samples": summary.samples,
        "processes": summary.processes,
    }
