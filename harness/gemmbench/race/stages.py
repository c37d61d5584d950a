"""A call taken apart into its stages: how often, and what they take at the pace of the race."""

from math import ceil
from typing import Any

from gemmbench.measurement import Measurement
from gemmbench.stats import summarize

STAGE_SECONDS = 0.2  # of calls taken apart into stages, at least
FEWEST_STAGE_REPEATS, MOST_STAGE_REPEATS = 3, 101  # and as many calls,
LONG_CALL = 2.0  # but one that takes so many seconds only once: a request has its time-out


def stage_seconds(taken: dict[str, Any], measurement: Measurement) -> dict[str, float]:
    """Seconds of each stage at the pace of the race, from those `taken` beside whole calls.

    The machine's pace may have been another when a call was taken apart, in one process of several;
    what the stages do not add up to, beside whole calls of the same moment, they still do not.
    """
    stages: dict[str, float] = taken.get("seconds", {})
    if not stages or not measurement:
        return {}
    pace = summarize(measurement).median / float(taken["call"])
    return {name: seconds * pace for name, seconds in stages.items()}


def stage_repeats(seconds: float) -> int:
    """How many calls that take `seconds` are taken apart; odd, so that a median is one of them."""
    if seconds >= LONG_CALL:
        return 1
    wanted = ceil(STAGE_SECONDS / max(seconds, 1e-9)) | 1
    return min(max(wanted, FEWEST_STAGE_REPEATS), MOST_STAGE_REPEATS)
