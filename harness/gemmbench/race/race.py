"""One race: what it measures with, the roofs beside it, and its entrants as trials.

It does not know the order in which heats and rounds are run: see `course` and `rounds`.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from gemmbench.backend import locate_backend
from gemmbench.link import Link
from gemmbench.race.entrant import Entrant
from gemmbench.race.spec import Clock, Limits, OpenLink, RaceSpec, Setting, Talks, Yardstick
from gemmbench.race.stages import stage_seconds
from gemmbench.ranking import is_transform
from gemmbench.reference import Cases
from gemmbench.trial import Contender, Trial

PEAK_QUANTILE = 0.9  # a roof is what can be reached, so interrupted blocks do not lower it


@dataclass(slots=True)
class Race:
    """One race on one problem. Both roofs are timed in every round; `rng` orders the rounds."""

    spec: RaceSpec
    cases: Cases
    limits: Limits
    rng: random.Random
    roof: Yardstick | None = None
    memory: Yardstick | None = None  # of the bytes that the problem has; timed with the roof
    clock: Clock = time.monotonic
    open_link: OpenLink | None = None
    settings: tuple[Setting, ...] = ()  # under each of which everybody races to the end
    layout: int | None = None  # seed of where arrays begin; None: wherever they are allocated
    on_trial: Callable[[Trial], None] | None = None  # told of each trial as it becomes final
    peaks: list[float] = field(default_factory=list)
    bandwidths: list[float] = field(default_factory=list)

    def entrants(self) -> list[Entrant]:
        """Every contender, once under each setting, which has processes of its own."""
        if not self.settings:
            return [Entrant(contender) for contender in self.spec.contenders]
        return [
            Entrant(contender, lane=setting.name, setting=setting)
            for contender in self.spec.contenders
            for setting in self.settings
        ]

    def trial(self, entrant: Entrant) -> Trial:
        """The outcome of `entrant` as a value."""
        facts = entrant.facts
        return Trial(
            suite=self.spec.suite,
            layer=self.spec.layer,
            problem=self.spec.problem,
            contender=entrant.contender,
            state=entrant.state,
            reason=entrant.reason,
            threads=int(entrant.contender.config.get("threads", self.spec.protocol.threads)),
            library=facts.get("library", ""),
            source_hash=facts.get("source_hash", ""),
            max_error=entrant.max_error,
            error_bound=entrant.error_bound,
            relative_error=entrant.relative_error,
            rms_error=entrant.rms_error,
            error_limit=self.spec.protocol.max_error,
            measurement=entrant.measurement(),
            stages=stage_seconds(facts.get("stages", {}), entrant.measurement()),
            workspace_bytes=facts.get("workspace_bytes"),
            own_flops=facts.get("flops") if is_transform(entrant.contender) else None,
            peak_flops=self.peak(entrant),
            peak_bytes=None if entrant.facts.get("device") else _reached(self.bandwidths),
            call_bytes=facts.get("call_bytes"),
            cold_ratio=facts.get("cold_ratio"),
            device=facts.get("device_state", {}),
        )

    def peak(self, entrant: Entrant) -> float | None:
        """The roof of the machine, or what the entrant's own device cannot exceed."""
        if entrant.facts.get("device"):
            peak: float | None = entrant.facts["device_peak"]
            return peak
        return _reached(self.peaks)

    def link(self, contender: Contender) -> Talks:
        """A fresh worker for the backend of `contender`."""
        location = locate_backend(contender.backend)
        if self.open_link is not None:
            return self.open_link(location, contender.environment)
        return Link(
            location,
            self.spec.problem,
            threads=self.spec.protocol.threads,
            timeout=self.limits.timeout,
            memory_bytes=self.limits.memory_bytes,
            environment=contender.environment,
            layout=self.layout,
        )


def _reached(blocks: Sequence[float]) -> float | None:
    """What a roof reached in its better blocks; None where it was not timed."""
    return float(np.quantile(blocks, PEAK_QUANTILE)) if blocks else None
