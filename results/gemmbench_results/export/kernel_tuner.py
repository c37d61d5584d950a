"""A search as a cache file of Kernel Tuner's, which its simulation mode replays.

The format is what `kernel_tuner.util.process_cache` of version 1.5 reads: a header, then one entry
a config under its values joined by commas, times in milliseconds, an error's name instead of a
time, and under "__error__", where it failed. Values are kept as they are; Kernel Tuner has no
other notion of an axis.
"""

from collections.abc import Sequence
from typing import Any

from gemmbench.machine import Machine
from gemmbench.space import Config
from gemmbench.stats import summarize
from gemmbench.trial import Trial, TrialState

MILLISECONDS = 1e3
FAILED = "RuntimeFailedConfig"


def kernel_tuner_cache(trials: Sequence[Trial], machine: Machine) -> dict[str, Any]:
    """The cache of one layer and contender; of several trials of a config the last counts.

    All trials have the same axes.
    """
    first = trials[0]
    names = list(first.contender.config)
    shape = first.problem.gemm()
    entries = {_key(trial.contender.config, names): _entry(trial, names) for trial in trials}
    return {
        "device_name": machine.cpu,
        "kernel_name": f"{first.contender.label()} {first.suite} {first.layer}",
        "problem_size": [shape.m, shape.k, shape.n],
        "tune_params_keys": names,
        "tune_params": {name: _values(trials, name) for name in names},
        "objective": "time",
        "cache": entries,
    }


def _key(config: Config, names: Sequence[str]) -> str:
    return ",".join(str(config[name]) for name in names)


def _values(trials: Sequence[Trial], name: str) -> list[Any]:
    values = {trial.contender.config[name] for trial in trials}
    return sorted(values, key=lambda value: (isinstance(value, str), value))


def _entry(trial: Trial, names: Sequence[str]) -> dict[str, Any]:
    config = {name: trial.contender.config[name] for name in names}
    costs = {
        "compile_time": 0,
        "verification_time": 0,
        "benchmark_time": MILLISECONDS * sum(s.seconds for s in trial.measurement.samples),
        "strategy_time": 0,
        "framework_time": 0,
    }
    if trial.state is not TrialState.COMPLETE or not trial.measurement:
        return {**config, "time": FAILED, "__error__": FAILED, **costs}
    calls = trial.measurement.seconds_per_call()
    return {
        **config,
        "time": MILLISECONDS * summarize(trial.measurement).median,
        "times": [MILLISECONDS * float(seconds) for seconds in calls],
        **costs,
    }
