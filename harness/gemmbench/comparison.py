"""What the gate says of one layer: base against head. A value, as JSON and every format show it."""

from dataclasses import dataclass
from enum import StrEnum


class GateVerdict(StrEnum):
    """What a comparison, or a whole suite of them, comes to; worst first."""

    REGRESSED = "REGRESSED"
    UNDECIDED = "UNDECIDED"
    IMPROVED = "IMPROVED"
    OK = "OK"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Head against base on one layer. Effects are fractions: 0.05 is 5 % slower than base.

    Where nothing could be measured in time, `pairs` is 0 and the effects are NaN.
    """

    layer: str
    backend: str  # the spec, followed by the algorithm where a backend computes in several ways
    estimate: float
    low: float  # of the 95 % interval, which holds at all looks together
    high: float
    smallest_visible: float  # the smallest slowdown that would have been flagged 9 times in 10
    verdict: GateVerdict
    pairs: int  # of fresh processes
    seconds_measured: float  # inside slices, both sides together
    base: str = "base"  # what the sides are, for a reader: a revision, an interpreter, a backend
    head: str = "head"
