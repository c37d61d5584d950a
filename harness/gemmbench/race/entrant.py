"""A contender's progress through a race: its samples, its errors, and whether it is still in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from gemmbench.measurement import Measurement, Sample
from gemmbench.race.spec import Setting
from gemmbench.trial import Contender, TrialState


@dataclass(slots=True)
class Entrant:
    """A contender's progress through the race."""

    contender: Contender
    lane: str = ""  # entrants in different lanes never share a process
    setting: Setting | None = None  # instead of the race's own cases and protocol
    state: TrialState = TrialState.COMPLETE
    reason: str = ""
    samples: list[Sample] = field(default_factory=list)
    max_error: float | None = None
    error_bound: float | None = None
    relative_error: float | None = None
    rms_error: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)  # library, source_hash, workspace, stages
    loops: int = 1
    left: bool = False  # plainly slow: no further rounds
    verified: set[int] = field(default_factory=set)  # processes whose samples passed afterwards

    @property
    def racing(self) -> bool:
        """Whether it still takes part in rounds."""
        return self.state is TrialState.COMPLETE and not self.left

    def measurement(self) -> Measurement:
        """Its samples, none unless every check passed."""
        return Measurement(tuple(self.samples) if self.state is TrialState.COMPLETE else ())

    def last_call(self) -> float:
        """Seconds a call of its latest block."""
        return self.samples[-1].seconds / self.samples[-1].loops

    def fail(self, state: TrialState, reason: str) -> None:
        """End its race. What it measured before does not count."""
        self.state, self.reason = state, reason

    def note_errors(self, reply: Mapping[str, Any]) -> None:
        """Keep the largest errors that a worker's verification has found so far."""
        found = inf if reply["max_error"] is None else reply["max_error"]
        self.max_error = max(found, self.max_error or 0.0)
        self.error_bound = reply["bound"]
        self.relative_error = _worse(self.relative_error, reply.get("relative_error"))
        self.rms_error = _worse(self.rms_error, reply.get("rms_error"))


def _worse(before: float | None, now: float | None) -> float | None:
    """The larger error; None where neither is known."""
    return max((error for error in (before, now) if error is not None), default=None)
