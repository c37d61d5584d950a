"""What one GEMM for the whole batch gains over one for each image, where both were raced.

The question of Hadjis, Abuzaid, Zhang & Ré 2015, "Caffe con Troll: Shallow Ideas to Speed Up Deep
Learning", arXiv:1504.04343, section 2.2: lowering a batch at once makes the matrix larger than an
image's, and its columns take as many times the memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from gemmbench.ranking import may_win
from gemmbench.stats import compare, summarize
from gemmbench.trial import Trial, TrialState

WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class BatchingGain:
    """How many times as fast the whole batch is as image by image, with its interval."""

    suite: str
    layer: str
    label: str  # of the contender
    images: int
    times: float
    low: float  # 0 and infinity: too few rounds had both
    high: float


def batching_gains(trials: Sequence[Trial]) -> list[BatchingGain]:
    """The gain of each contender that was raced both ways, by the fastest config of each way."""
    ways: dict[tuple[str, str, str], dict[bool, list[Trial]]] = {}
    for trial in trials:
        if trial.state is TrialState.COMPLETE and trial.measurement and may_win(trial):
            key = (trial.suite, trial.layer, trial.contender.label())
            whole = trial.contender.config.get("lowering") == WHOLE
            ways.setdefault(key, {}).setdefault(whole, []).append(trial)
    both = {key: (_fastest(two[True]), _fastest(two[False])) for key, two in ways.items()
            if len(two) == 2}  # fmt: skip
    return [_gain(*key, whole, single) for key, (whole, single) in both.items()]


def batching_sentences(trials: Sequence[Trial]) -> list[str]:
    """As 'conv2: blas im2col: one GEMM for 10 images is 1.31 times as fast … (1.28–1.35).'."""
    return [
        f"{gain.layer}: {gain.label}: one GEMM for all {gain.images} images is "
        f"{gain.times:.2f} times as fast as one for each ({gain.low:.2f}–{gain.high:.2f})."
        for gain in batching_gains(trials)
    ]


def _gain(suite: str, layer: str, label: str, whole: Trial, single: Trial) -> BatchingGain:
    effect = compare(whole.measurement, single.measurement)
    images = int(getattr(whole.problem, "batch", 1))
    if effect is None:
        times = _pace(single) / _pace(whole)
        return BatchingGain(suite, layer, label, images, times, 0.0, float("inf"))
    found = (exp(value) for value in (effect.estimate, effect.low, effect.high))
    return BatchingGain(suite, layer, label, images, *found)


def _fastest(trials: Sequence[Trial]) -> Trial:
    return min(trials, key=_pace)


def _pace(trial: Trial) -> float:
    return summarize(trial.measurement).median
