"""Which stored evaluations are results of this very search, and which only resemble it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

from gemmbench.problem import Problem
from gemmbench.space import Config
from gemmbench.trial import Evaluation
from gemmbench.tune.evidence import Source

Result = tuple[Config, float | None]


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known before a search begins."""

    stored: tuple[Result, ...] = ()  # of this problem and kernel, on this machine
    sources: tuple[Source, ...] = ()  # of others, the most alike first


def recall(evaluations: Sequence[Evaluation], problem: Problem, source_hash: str) -> Memory:
    """`evaluations`, oldest first, as they bear on `problem` and the kernel's present source.

    The newest result of a config counts. Of other problems, those of the same kind and type of
    elements are sources: this machine's before others', the present source's before older ones',
    then the nearest shape.
    """
    groups: dict[tuple[object, ...], dict[str, Result]] = {}
    examples: dict[tuple[object, ...], Evaluation] = {}
    for one in evaluations:
        if one.problem.kind == problem.kind and one.problem.dtype == problem.dtype:
            group = (one.problem, one.here, one.machine, one.source_hash)
            examples[group] = one
            found = groups.setdefault(group, {})
            name = repr(sorted(one.config.items()))
            found.pop(name, None)
            found[name] = (one.config, one.seconds)
    own = next((g for g, one in examples.items() if _is_this(one, problem, source_hash)), None)
    others = sorted(
        (group for group in groups if group != own),
        key=lambda group: _unlikeness(examples[group], problem, source_hash),
    )
    stored = tuple(groups[own].values()) if own else ()
    return Memory(stored, tuple(tuple(groups[group].values()) for group in others))


def _is_this(one: Evaluation, problem: Problem, source_hash: str) -> bool:
    return one.here and one.problem == problem and one.source_hash == source_hash


def _unlikeness(one: Evaluation, problem: Problem, source_hash: str) -> tuple[bool, bool, float]:
    """Sorts the most alike first."""
    there, here = one.problem.gemm(), problem.gemm()
    sizes = [(there.m, here.m), (there.k, here.k), (there.n, here.n), (there.count, here.count)]
    distance = sum(abs(log2(a / b)) for a, b in sizes)
    return (not one.here, one.source_hash != source_hash, distance)
