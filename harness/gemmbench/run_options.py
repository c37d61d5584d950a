"""What a run was asked for, and whether it can be done: known before anything is measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gemmbench.backend import PER_IMAGE, installed_backends
from gemmbench.errors import GemmbenchError
from gemmbench.problem import Conv2d, Problem
from gemmbench.reference import needed_bytes
from gemmbench.space import SearchSpace
from gemmbench.suite import Layer, Suite
from gemmbench.tune.evidence import Source
from gemmbench.tune.strategies import DEFAULT_STRATEGY

SECONDS_PER_LAYER = 18.0  # default budget: AlexNet's eight layers end under three minutes
CONTENDERS_A_BACKEND = 10  # five algorithms, each with a default and a tuned config
TUNING_SHARE = 0.4  # of a layer's budget goes to searching, the rest to the race,
TUNE_COMMAND_SHARE = 0.7  # or this much where tuning is what was asked for
# "more": search on from what is stored; "stored": use what is stored, search nothing
Tune = Literal["auto", "never", "force", "more", "stored"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked for, defaults filled in."""

    backends: tuple[str, ...] = ()  # specs; () means every installed one
    algorithms: tuple[str, ...] = ()  # () means all
    weights: tuple[str, ...] = ("plain",)
    lowerings: tuple[str, ...] = (PER_IMAGE,)  # of a batch, where an algorithm has several
    declined: bool = False  # keep why a backend's algorithms do not apply, though not asked for
    tune: Tune = "auto"
    strategy: str = DEFAULT_STRATEGY
    imported: tuple[Source, ...] = ()  # recordings of the like, to start from
    space: SearchSpace | None = None  # instead of the backends' own
    target: float | None = None  # share of the machine's peak at which a search ends
    portfolio: bool = False  # measure what leads on one layer on all the others too
    budget: float | None = None  # seconds for the whole command
    evaluations: int = 200  # most configs of one search
    timeout: float = 60.0
    memory_bytes: int = 0

    def tuning_share(self) -> float:
        """The share of a layer's time that goes to searching."""
        return TUNE_COMMAND_SHARE if self.tune == "more" else TUNING_SHARE

    def specs(self) -> tuple[str, ...]:
        """The backends to race."""
        return self.backends or tuple(sorted(installed_backends()))

    def wants(self, algorithm: str, weights: str) -> bool:
        """Whether the user's choice of algorithms and weights includes these."""
        return weights in self.weights and (not self.algorithms or algorithm in self.algorithms)

    def tells(self, algorithm: str) -> bool:
        """Whether it is kept why a backend declines the algorithm."""
        return algorithm in self.algorithms or (self.declined and not self.algorithms)


def budget_seconds(suites: Sequence[Suite], options: RunOptions) -> float:
    """Seconds that the whole command may take, as asked for or by the number of layers."""
    return options.budget or SECONDS_PER_LAYER * sum(len(suite.layers) for suite in suites)


def check_names(suites: Sequence[Suite]) -> None:
    """Raise GemmbenchError if two suites of one run have the same name."""
    seen: dict[str, Suite] = {}
    for suite in suites:
        if suite.name in seen and seen[suite.name].origin == suite.origin:
            raise GemmbenchError(f"suite {suite.name!r}: was given twice. Name it once.")
        if suite.name in seen:
            raise GemmbenchError(
                f"{suite.origin}: suite {suite.name!r} is also the name of "
                f"{seen[suite.name].origin}. Run them one at a time, or rename one."
            )
        seen[suite.name] = suite


def check_memory(layers: Sequence[tuple[Suite, Layer]], options: RunOptions) -> None:
    """Raise GemmbenchError if a layer's operands and columns exceed the memory allowed."""
    allowed, backends = options.memory_bytes, len(options.specs())
    for suite, layer in layers:
        needed = needed_bytes(layer.problem, backends, CONTENDERS_A_BACKEND * backends)
        needed += layer.problem.im2col_bytes() * _images_lowered(layer.problem, options)
        if allowed and needed > allowed:
            raise GemmbenchError(
                f"{suite.origin}: layer {layer.name!r}: needs {needed / 2**30:.2f} GiB for "
                f"operands, reference and workspace, {allowed / 2**30:.2f} GiB are allowed. "
                "Use a smaller --batch, leave it out with --only, or raise --memory."
            )


def _images_lowered(problem: Problem, options: RunOptions) -> int:
    """Of how many images the columns are held at a time."""
    if isinstance(problem, Conv2d) and "whole" in options.lowerings:
        return problem.batch
    return 1
