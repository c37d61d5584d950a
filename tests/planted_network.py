"""Backends whose defect only shows in a pass: a race's operands do not bring it out."""

import contextlib
import os

import numpy as np

from gemmbench.backend import Array, Operands, Prepared
from gemmbench.problem import Problem
from gemmbench.space import Config
from planted import Contender, Honest, factors


def after_relu(x: Array) -> bool:
    """Whether no input is negative, and they do not just pick elements, as some in a race do."""
    return bool(x.min() >= 0 and not np.isin(x, (0, 1)).all())


class WrongAfterRelu(Honest):
    """Leaves the last term out where no input is negative, which uniform operands never are."""

    name = "wrong-after-relu"

    def multiply(self, left, right, out) -> None:
        length = left.shape[1] - (after_relu(left))
        np.matmul(left[:, :length], right[:length], out=out)


class AbortsAfterRelu(Honest):
    """Kills its process where no input is negative."""

    name = "aborts-after-relu"

    def multiply(self, left, right, out) -> None:
        if after_relu(left):
            os.abort()
        np.matmul(left, right, out=out)


class AnswersElsewhere(Honest):
    """Answers in memory of its own, as a library that returns its results does."""

    name = "answers-elsewhere"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        left, right = factors(problem, operands)
        answer = np.empty_like(operands["out"])
        return Contender(lambda: np.matmul(left, right, out=answer), answer)


class Alone(Honest):
    """Says that its library shares a process with no other such."""

    name = "alone"
    exclusive = True


class AloneToo(Alone):
    """Another one."""

    name = "alone-too"


class RemembersThePass(Honest):
    """After the calls that are timed in a short network answers what it answered before."""

    name = "remembers-the-pass"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        left, right = factors(problem, operands)
        out, calls = operands["out"], []
        counts = os.environ.get("GEMMBENCH_PLANTED_PASS")

        def compute() -> None:
            calls.append(1)
            if counts and len(calls) > 8:
                return
            np.matmul(left, right, out=out)

        return Contender(compute, out)


class IdlesWhileTimed(Honest):
    """Does nothing in the fourth to the eighth call: in a short network's passes those are timed.

    The three before are one that is checked and two that only tell how long a pass takes.
    """

    name = "idles-while-timed"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        left, right = factors(problem, operands)
        out, calls = operands["out"], []
        planted = os.environ.get("GEMMBENCH_PLANTED_PASS")

        def compute() -> None:
            calls.append(1)
            if not planted or not 3 < len(calls) <= 8:
                np.matmul(left, right, out=out)

        return Contender(compute, out)


class HangsAfterRelu(Honest):
    """Never comes back where no input is negative."""

    name = "hangs-after-relu"

    def multiply(self, left, right, out) -> None:
        while after_relu(left):
            with contextlib.suppress(InterruptedError):
                os.sched_yield()
        np.matmul(left, right, out=out)
