"""Convolutions by blocks: lanes are channels inside, planes outside, weights packed ahead.

What the backend offers beside products of a column matrix: each algorithm with why it does not
apply, its search space and how it is made ready.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gemmbench.backend import Operands
from gemmbench.machine import Machine
from gemmbench.problem import Conv2d
from gemmbench.space import Config, SearchSpace
from gemmbench_backends.numba_cpu.convolution.block import Convolution
from gemmbench_backends.numba_cpu.emit import Vector

BOTH = ("plain", "prepared")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One way of computing a convolution. The functions import what compiles when called."""

    unsupported: Callable[[Conv2d], str | None]
    space: Callable[[Conv2d, Machine, Config], SearchSpace]
    prepare: Callable[[Conv2d, Config, Operands, Vector], Convolution]


def algorithms() -> Mapping[str, Algorithm]:
    """Every algorithm by its name."""
    from gemmbench_backends.numba_cpu.convolution import (
        depthwise,
        direct,
        fourier,
        space,
        winograd,
    )

    return {
        "direct": Algorithm(direct.unsupported, space.direct_space, direct.prepare_direct),
        "depthwise": Algorithm(
            depthwise.unsupported, depthwise.depthwise_space, depthwise.prepare_depthwise
        ),
        "fft": Algorithm(fourier.unsupported, space.fft_space, fourier.prepare_fft),
        "winograd": Algorithm(
            winograd.unsupported, space.winograd_space, winograd.prepare_winograd
        ),
    }
