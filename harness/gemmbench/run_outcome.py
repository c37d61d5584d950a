"""What a run gave, what it is to the shell, and who is told how far it has come."""

from dataclasses import dataclass, field
from typing import Protocol

from gemmbench.trial import Trial, TrialState

OVERRUN = 1.2  # times the budget, from which on the user is told


@dataclass(slots=True)
class Outcome:
    """What a run gave: its race trials, and whether it was cut short."""

    run: int
    trials: list[Trial] = field(default_factory=list)
    evaluations: int = 0
    reused: int = 0
    interrupted: bool = False
    seconds: float = 0.0  # that the layers took together
    searched: set[tuple[str, str, str]] = field(default_factory=set)  # suite, layer, label


class Watcher(Protocol):
    """Who is told how far a run has come."""

    def layer(self, suite: str, name: str, position: int, total: int) -> None:
        """Layer `position` of `total` begins, counted from 0."""

    def step(self, text: str) -> None:
        """What is being done now, in a few words."""


def exit_code(outcome: Outcome) -> int:
    """130 interrupted, 5 a wrong result, 6 a crash or time-out, else 0, in this precedence."""
    states = {trial.state for trial in outcome.trials}
    if outcome.interrupted:
        return 130
    if TrialState.WRONG in states:
        return 5
    return 6 if TrialState.FAILED in states else 0


def overrun_sentence(outcome: Outcome, budget: float) -> str:
    """What to say where one round of everything took longer than `budget` seconds; else ''."""
    if outcome.interrupted or outcome.seconds < OVERRUN * budget:
        return ""
    return (
        f"The budget of {budget:.0f} s was too short: preparing, verifying and timing everything "
        f"once took {outcome.seconds:.0f} s."
    )
