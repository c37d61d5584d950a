"""PyTorch on the CPU: the BLAS and the oneDNN that it was built with, as a user of it gets them.

torch.mm writes where it is told; convolutions and oneDNN's products return a tensor of their own.
Copying that would be charged to PyTorch, so it is the output. Its pages would be new in every
call too, whereas the others write to memory that was touched before: the C library is told to
keep freed memory, and the last output is freed before the next one is made.
"""

import contextlib
import ctypes
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gemmbench.backend import Array, Operands, Prepared
from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine
from gemmbench.problem import Conv2d, Gemm, Linear, Problem
from gemmbench.space import Axis, Config, SearchSpace

INSTALL = "pip install 'gemmbench[torch]'"
KINDS = ("gemm", "linear", "conv2d")
PLAIN, BOTH = ("plain",), ("plain", "prepared")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h
LAYOUTS = ("blocked", "channels-last")  # that oneDNN computes a convolution in; both arrive as NCHW
POINTWISE: tuple[Any, ...] = (
    "none",
    [],
    "",
)  # oneDNN's fused ops without any: attr, scalars, algorithm
BUILT_WITH = {"MKL": r"Math Kernel Library Version ([\d.]+)", "oneDNN": r"MKL-DNN v([\d.]+)"}

Tensor = Any  # torch.Tensor, which only methods may import


class TorchCpu:
    """PyTorch's CPU operators. Raises GemmbenchError for an option: none exists."""

    name = "torch"
    exclusive = True  # it brings a BLAS and an OpenMP of its own

    def __init__(self, option: str = "") -> None:
        if option:
            raise GemmbenchError(
                f"backend 'torch:{option}': got option {option!r}, 'torch' takes none. "
                "Name it 'torch': PyTorch on the CPU."
            )

    def unavailable(self) -> str | None:
        """What is missing: PyTorch, or something that it needs."""
        try:
            import torch  # noqa: F401
        except ImportError as error:
            if isinstance(error, ModuleNotFoundError) and error.name == "torch":
                return f"PyTorch is not installed. Install it with: {INSTALL} (a CPU build will do)"
            reason = " ".join(str(error).split())
            return f"PyTorch is installed but does not import: {reason}. Reinstall: {INSTALL}"
        return None

    def supports(self, problem: Problem) -> str | None:
        """None for products and convolutions."""
        if problem.kind in KINDS:
            return None
        return f"torch computes {', '.join(KINDS)}, not {problem.kind}"

    def algorithms(self, problem: Problem) -> Mapping[str, Sequence[str]]:
        """`gemm` is the BLAS, `onednn` oneDNN; PyTorch chooses itself how to convolve."""
        single = problem.dtype == "float32"  # neither oneDNN nor packed MKL weights take others
        if isinstance(problem, Conv2d):
            return {"library": BOTH if single and _offers("mkldnn", *CONVOLUTION) else PLAIN}
        packs = isinstance(problem, Linear) and single and _offers("mkl", *PACKED_LINEAR)
        offered = {"gemm": BOTH if packs else PLAIN}
        if single and _offers("mkldnn", *LINEAR):
            offered["onednn"] = BOTH if isinstance(problem, Linear) else PLAIN
        return offered

    def search_space(
        self, problem: Problem, machine: Machine, choice: Config
    ) -> SearchSpace | None:
        """The layout of a convolution with prepared weights; else oneDNN chooses for itself."""
        if isinstance(problem, Conv2d) and choice["weights"] == "prepared":
            return SearchSpace((Axis("layout", LAYOUTS, "categorical"),), {"layout": LAYOUTS[0]})
        return None

    def library(self) -> str:
        """PyTorch's version, those of its BLAS and oneDNN, and the widest vectors it uses."""
        import torch

        built = torch.__config__.show()
        found = {name: re.search(pattern, built) for name, pattern in BUILT_WITH.items()}
        parts = [f"{name} {match[1]}" for name, match in found.items() if match]
        blas = re.search(r"BLAS_INFO=(\w+)", built)
        if not found["MKL"] and blas:
            parts.insert(0, blas[1])
        count = torch.get_num_threads()
        kernel = f"{torch.backends.cpu.get_cpu_capability()}, {count} thread{'s'[: count - 1]}"
        return ", ".join([f"torch {torch.__version__}", *parts]) + f" ({kernel})"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        """Tensors that share the memory of the operands, and prepared weights.

        Raises GemmbenchError where PyTorch is not installed.
        """
        reason = self.unavailable()
        if reason is not None:
            raise GemmbenchError(f"backend 'torch' is unavailable: {reason}.")
        import torch

        _set_up(int(config["threads"]))
        tensors = {name: torch.from_numpy(array) for name, array in operands.items()}
        if isinstance(problem, Conv2d):
            return _convolution(problem, config, tensors, operands["out"])
        return _product(problem, config, tensors, operands["out"])


@dataclass(frozen=True, slots=True)
class Written:
    """A call that writes to the operand `out`."""

    run: Callable[[], object]
    out: Array

    def output(self) -> Array:
        """The operand `out`."""
        return self.out


@dataclass(slots=True)
class Returned:
    """A call that returns a tensor of its own, which is the output."""

    compute: Callable[[], Tensor]
    result: Tensor = None

    def run(self) -> None:
        """Free the last output, so that its memory is used again, and compute the next."""
        self.result = None
        self.result = self.compute()

    def output(self) -> Array:
        """A view of the tensor."""
        array: Array = self.result.numpy()
        return array


LINEAR = ("_linear_pointwise", "_reorder_linear_weight")
PACKED_LINEAR = ("_mkl_linear", "_mkl_reorder_linear_weight")
CONVOLUTION = ("_convolution_pointwise", "_reorder_convolution_weight")


def _offers(namespace: str, *operators: str) -> bool:
    """Whether this PyTorch, on this CPU, has these operators, which are not part of its API."""
    try:
        import torch
    except ImportError:
        return False
    if namespace == "mkldnn" and not torch.backends.mkldnn.is_available():
        return False
    return all(hasattr(getattr(torch.ops, namespace), operator) for operator in operators)


def _set_up(threads: int) -> None:
    """Threads, no autograd, no rounding of float32 to less, and memory that is kept when freed."""
    import torch

    os.environ["ONEDNN_DEFAULT_FPMATH_MODE"] = "STRICT"  # read at the first use of oneDNN
    torch.set_float32_matmul_precision("highest")
    torch.set_num_threads(threads)
    if not torch.is_inference_mode_enabled():
        torch.inference_mode(True).__enter__()  # for good: entering it in each call takes longer
    with contextlib.suppress(OSError, AttributeError):  # a C library without mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


def _product(
    problem: Gemm | Linear, config: Config, tensors: Mapping[str, Tensor], out: Array
) -> Prepared:
    """out = left · weightᵀ. weight: (out_features, in_features), for a Gemm a view of b."""
    import torch

    if isinstance(problem, Gemm):
        left, weight = tensors["a"], tensors["b"].t()
    else:
        left, weight = tensors["x"], tensors["w"]
    prepared, rows = config["weights"] == "prepared", problem.gemm().m
    if config["algorithm"] == "onednn":
        if prepared:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        multiply = torch.ops.mkldnn._linear_pointwise.default
        return Returned(partial(multiply, left, weight, None, *POINTWISE))
    if prepared:
        packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, rows)
        multiply = torch.ops.mkl._mkl_linear.default
        return Returned(partial(multiply, left, packed, weight, None, rows))
    return Written(partial(torch.mm, left, weight.t(), out=tensors["out"]), out)


def _convolution(
    problem: Conv2d, config: Config, tensors: Mapping[str, Tensor], out: Array
) -> Prepared:
    import torch

    x, w = tensors["x"], tensors["w"]
    pad, stride, dilation = list(problem.pad), list(problem.stride), list(problem.dilation)
    if config["weights"] == "plain":
        convolve = torch.nn.functional.conv2d
        return Returned(partial(convolve, x, w, None, stride, pad, dilation, problem.groups))
    where = (pad, stride, dilation, problem.groups)
    if config["layout"] == "blocked":
        packed = torch._C._nn.mkldnn_reorder_conv2d_weight(w.to_mkldnn(), *where, list(x.shape))
        return Returned(partial(torch.ops.aten.mkldnn_convolution.default, x, packed, None, *where))
    packed = torch.ops.mkldnn._reorder_convolution_weight(w, *where, list(x.shape))
    convolve = torch.ops.mkldnn._convolution_pointwise.default
    target = tensors["out"]
    # It returns N, H, W, C in memory: bringing that into the operand's order is part of the work.
    return Written(lambda: target.copy_(convolve(x, packed, None, *where, *POINTWISE)), out)
