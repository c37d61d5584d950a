"""One way of a check under comparison, while its verdict is open."""

from dataclasses import dataclass, field

from gemmbench.gate import (
    CONFIRMING_LOOKS,
    LAYER_LEVEL,
    Screening,
    Thresholds,
    confirmed,
    flagged,
)
from gemmbench.pairs import Duel
from gemmbench.ways import Way


@dataclass(slots=True)
class Bout:
    """One way under comparison, while its verdict is open."""

    way: Way
    duel: Duel
    thresholds: Thresholds
    found: Screening = field(default_factory=Screening)
    late: bool = False  # flagged by one of Holm's later steps

    def unconfirmed(self, first_level: float) -> bool:
        """Whether it was flagged, by any step of Holm's, and time was up before more pairs."""
        level = LAYER_LEVEL if self.late else first_level
        is_flagged = flagged(self.found, level, self.thresholds)
        cut_short = len(self.found.confirming) < CONFIRMING_LOOKS[-1]
        return is_flagged and cut_short and not confirmed(self.found, self.thresholds)
