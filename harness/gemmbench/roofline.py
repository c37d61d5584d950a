"""The roofline of a trial: which of the machine's two roofs bounds it, and how near it comes.

A call cannot end before the operations that its algorithm executes are done at the machine's peak,
nor before what it needs of the operands is read and the output written once, at the bandwidth of
wherever they lie. Both roofs were raced beside the trial: the peak by fused multiply-adds in
registers, the bandwidth by reading as many bytes as the problem has, so that operands which stay in
a cache are held against that cache and not against memory. Pure functions: nothing is measured.

Source: Williams, Waterman, Patterson 2009, Roofline: an insightful visual performance model for
multicore architectures, Communications of the ACM 52(4), section 3.
"""

from dataclasses import dataclass
from typing import Literal

from gemmbench.problem import ITEMSIZE, Conv2d, Problem
from gemmbench.ranking import is_transform
from gemmbench.stats import summarize
from gemmbench.trial import Trial, TrialState

ROOF_TOLERANCE = 1.10  # the roofs are themselves measurements, good to a few percent

Bound = Literal["compute", "memory"]


@dataclass(frozen=True, slots=True)
class Roofline:
    """What bounds a call, and the shortest it can take."""

    intensity: float  # FLOP a byte: operations of the direct method over the least bytes
    bound: Bound
    seconds: float  # the shortest call that both roofs allow
    share: float | None  # of that in the measured seconds: 1 is the roof; None if not timed


def intensity(problem: Problem) -> float:
    """Arithmetic intensity: FLOP of the direct method a byte, everything moved once."""
    return problem.flops() / problem.minimal_bytes()


def moved_bytes(problem: Problem) -> int:
    """Bytes that have to be moved: every operand once but the rows of an image that no tap reads.

    Of a row some pixels may be left out too, but a cache moves lines of several.
    """
    if not isinstance(problem, Conv2d):
        return problem.minimal_bytes()
    outputs, taps = range(problem.output_size()[0]), range(problem.kernel[0])
    read = {
        y * problem.stride[0] + tap * problem.dilation[0] - problem.pad[0]
        for y in outputs
        for tap in taps
    }
    unread = problem.height - len(read & set(range(problem.height)))
    row_bytes = problem.width * ITEMSIZE[problem.dtype]
    return problem.minimal_bytes() - problem.batch * problem.channels * unread * row_bytes


def attainable_flops(intensity: float, peak_flops: float, peak_bytes: float) -> float:
    """FLOP/s under both roofs at `intensity` FLOP a byte: min(peak, intensity · bandwidth)."""
    return min(peak_flops, intensity * peak_bytes)


def ridge(peak_flops: float, peak_bytes: float) -> float:
    """FLOP a byte from which on arithmetic is the bound, not memory."""
    return peak_flops / peak_bytes


def executed_flops(trial: Trial) -> int | None:
    """Operations that the algorithm executes; None for a transform that does not say."""
    if trial.own_flops is not None:
        return trial.own_flops
    return None if is_transform(trial.contender) else trial.problem.flops()


def roofline(trial: Trial) -> Roofline | None:
    """The roofline of `trial`; None unless both roofs were raced beside it.

    A transform executes fewer operations than the direct method and is bound by its own; one that
    does not say how many is held against memory alone.
    """
    if not trial.peak_flops or not trial.peak_bytes:
        return None
    flops = executed_flops(trial)
    compute = (flops or 0) / trial.peak_flops
    memory = moved_bytes(trial.problem) / trial.peak_bytes
    least = max(compute, memory)
    timed = trial.state is TrialState.COMPLETE and bool(trial.measurement)
    share = least / summarize(trial.measurement).median if timed else None
    bound: Bound = "compute" if compute >= memory else "memory"
    return Roofline(intensity(trial.problem), bound, least, share)


def above_roof(trial: Trial) -> bool:
    """Whether it was faster than a roof allows, by more than 10 %.

    At the edge of a cache that can be honest: reading one array round and round evicts what is
    read next, a blocked kernel keeps part of it. Hence only the peak of arithmetic costs a win
    (`ranking.is_implausible`).
    """
    found = roofline(trial)
    return found is not None and found.share is not None and found.share > ROOF_TOLERANCE
