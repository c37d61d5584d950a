"""What a check was asked, and what it found: values, the exit code, and where results go."""

from dataclasses import dataclass, field, replace
from math import expm1
from typing import Protocol

from gemmbench.comparison import Comparison, GateVerdict
from gemmbench.gate import (
    LOOKS,
    SPENDING,
    Screening,
    Thresholds,
    confirmed,
    final_reading,
    judge,
    read,
    smallest_visible,
)
from gemmbench.pairs import PAIR_METHOD, SLICE_SECONDS
from gemmbench.trial import RaceProtocol, RunRecorder, Trial, TrialState
from gemmbench.ways import Refusal, Wanted


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What the user asked for, defaults filled in."""

    wanted: Wanted = field(default_factory=Wanted)
    thresholds: Thresholds = field(default_factory=Thresholds)  # of layers without their own
    time_budget: float | None = None  # seconds for the whole suite
    timeout: float = 60.0
    memory_bytes: int = 0
    resume: bool = False
    control: bool = True


@dataclass(slots=True)
class CheckOutcome:
    """What a check found."""

    run: int
    comparisons: list[Comparison] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    control: Comparison | None = None
    noisy: bool = False  # the control "regressed": no verdict is given
    control_fault: str = ""  # why the control could not be measured: no verdict either
    resumed: int = 0  # comparisons taken over from an interrupted check
    interrupted: bool = False
    seconds: float = 0.0
    values: list[tuple[float, ...]] = field(default_factory=list)  # ln ratios of each comparison

    def verdict(self) -> str:
        """What the whole suite comes to, in one word; the exit code says the same."""
        verdicts = {comparison.verdict for comparison in self.comparisons}
        heads = {refusal.state for refusal in self.refusals if refusal.side == "head"}
        for state in (TrialState.WRONG, TrialState.FAILED):
            if state in heads:
                return str(state)
        if self.noisy:
            return "TOO_NOISY"
        for verdict in GateVerdict:
            if verdict in verdicts:
                return str(verdict)
        return "NO_BASELINE" if self.missing_bases() else "UNDECIDED"

    def missing_bases(self) -> list[Refusal]:
        """Layers that have nothing to be compared with."""
        return [refusal for refusal in self.refusals if refusal.side == "base"]

    def compared_nothing(self) -> bool:
        """Whether no pair was measured, but for a first run, whose base has no such kernel yet."""
        states = {refusal.state for refusal in self.missing_bases()}
        first_run = states == {TrialState.SKIPPED} and not self.comparisons
        return not first_run and not any(one.pairs for one in self.comparisons)


class Recorder(RunRecorder, Protocol):
    """Where a check's results go, and what it knows of earlier ones. The store implements it.

    What it records as a trial is a side that could not be compared.
    """

    def compared(
        self, run: int, comparison: Comparison, identity: str, base: Trial, head: Trial
    ) -> None:
        """Keep a comparison with both sides and all their samples, committed at once.

        It replaces an UNDECIDED one of the same identity in the same run.
        """

    def resumed(self, run: int, identity: str) -> Comparison | None:
        """The decided comparison of an interrupted check of the same, now in `run` too."""

    def withdraw(self, run: int) -> None:
        """Make every verdict of `run` UNDECIDED: the machine was too noisy."""


def exit_code(outcome: CheckOutcome, *, strict: bool, require_baseline: bool) -> int:
    """130, 5, 6, 1, 3, 4 or 0, as the design has them, in this precedence."""
    verdict = outcome.verdict()
    if outcome.interrupted:
        return 130
    failures = {"WRONG": 5, "FAILED": 6, "REGRESSED": 1}
    if verdict in failures:
        return failures[verdict]
    undecided = any(one.verdict is GateVerdict.UNDECIDED for one in outcome.comparisons)
    lost = any(refusal.side == "head" for refusal in outcome.refusals)
    if strict and (outcome.noisy or undecided or lost):
        return 3
    if outcome.compared_nothing():
        return 4  # a gate that compares nothing must not be green
    return 4 if require_baseline and outcome.missing_bases() else 0


def check_protocol(protocol: RaceProtocol) -> RaceProtocol:
    """How pairs are measured, as it is stored: never compared with the samples of a race."""
    return replace(
        protocol,
        method=PAIR_METHOD,
        processes=LOOKS[0],
        block_seconds=SLICE_SECONDS,
        stop="group-sequential",
    )


@dataclass(frozen=True, slots=True)
class Labels:
    """What a comparison is called."""

    layer: str
    backend: str
    base: str
    head: str


def compare(
    found: Screening, thresholds: Thresholds, level: float, labels: Labels, seconds: float
) -> Comparison:
    """What a screening, with its confirmation, comes to."""
    reading = final_reading(found)
    verdict = judge(
        reading,
        thresholds,
        slower=confirmed(found, thresholds),
        faster=found.p_faster <= level,
    )
    screened = read(found.values, SPENDING[max(found.looks - 1, 0)])
    visible = smallest_visible(screened, level, thresholds)
    return Comparison(
        labels.layer,
        labels.backend,
        expm1(reading.estimate),
        expm1(reading.low),
        expm1(reading.high),
        expm1(visible),
        verdict,
        reading.pairs,
        seconds,
        labels.base,
        labels.head,
    )
