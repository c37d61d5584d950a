"""What trackers are told of a run: one entry a way of computing a layer, under a stable name.

Several configs of one contender race each other; the fastest stands for it, as in the view
`series`, so that a name stays the same when a search finds other tiles. An error limit, which
decides who may win, does not decide who is tracked. Times are per call.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gemmbench.ranking import champions
from gemmbench.stats import Summary, process_medians, summarize
from gemmbench.trial import Contender, Trial
from gemmbench_results.rows import canonical


@dataclass(frozen=True, slots=True)
class Entry:
    """A trial that was timed, with its name and statistics; `processes` are medians in seconds."""

    name: str  # 'alexnet/conv1/numba im2col'
    trial: Trial
    summary: Summary
    processes: tuple[float, ...]

    def fraction_of_peak(self) -> float | None:
        """Of the machine's roof that was raced beside it; None without one."""
        peak = self.trial.peak_flops
        return self.trial.problem.flops() / self.summary.median / peak if peak else None

    def config(self) -> str:
        """The config as canonical JSON."""
        return canonical(dict(self.trial.contender.config))


def entries(trials: Sequence[Trial]) -> list[Entry]:
    """The race trials that completed, the fastest config of each contender, in their order."""
    layers: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if trial.purpose == "race":
            layers.setdefault((trial.suite, trial.layer), []).append(trial)
    found = []
    for own in layers.values():
        kinds = dict.fromkeys(trial.contender.weights for trial in own)
        places = sorted(place for kind in kinds for place in champions(own, kind, inexact=True))
        found += [_entry(own[place]) for place in places]
    return found


def contender_name(contender: Contender) -> str:
    """'numba im2col', with the interpreter and variables where they are not the usual ones."""
    environment = contender.environment
    variables = [f"{name}={value}" for name, value in environment.variables]
    extra = " ".join([*([environment.python] if environment.python else []), *variables])
    return f"{contender.label()} ({extra})" if extra else contender.label()


def _entry(trial: Trial) -> Entry:
    name = f"{trial.suite}/{trial.layer}/{contender_name(trial.contender)}"
    medians = tuple(float(seconds) for seconds in process_medians(trial.measurement))
    return Entry(name, trial, summarize(trial.measurement), medians)
