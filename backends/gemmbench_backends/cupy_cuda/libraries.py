"""NVIDIA's libraries as contenders: cuBLAS, cuDNN and cuFFT, as CuPy gives them to its users."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from gemmbench.problem import Conv2d, Linear, Problem
from gemmbench.space import Config, SearchSpace
from gemmbench_backends.cupy_cuda.contender import DeviceArray, Work
from gemmbench_backends.cupy_cuda.device import describe_device, too_little_memory
from gemmbench_backends.cupy_cuda.kernels import MOST_IN_GRID, im2col_launch
from gemmbench_backends.fft.geometry import transform_flops, transform_geometry

TF32 = "CUPY_TF32"  # set to 1 it lets cuBLAS round float32 operands to 10 bits; CuPy's default is 0
SPECTRAL_LAUNCHES = 16  # that an fft call queues: copies, transforms, a product; not counted


class CuBlas:
    """cuBLAS by cupy.matmul; a convolution is lowered by im2col first."""

    def missing(self) -> str | None:
        """None, or that the library is not found."""
        return _missing("cublas", "cuBLAS")

    def supports(self, problem: Problem) -> str | None:
        """None for what fits in memory; a convolution in float32, as im2col is."""
        if isinstance(problem, Conv2d) and problem.dtype != "float32":
            return f"im2col on the device is float32, not {problem.dtype}"
        columns = 0
        if isinstance(problem, Conv2d) and problem.im2col_bytes():
            columns, parts = problem.batch * problem.im2col_bytes(), problem.batch * problem.groups
            if parts > MOST_IN_GRID:
                return (
                    f"im2col lowers {parts} images and groups at once, a launch counts "
                    f"{MOST_IN_GRID}. Use a smaller --batch"
                )
        return too_little_memory(problem.minimal_bytes() + columns)

    def algorithms(self, problem: Problem) -> Mapping[str, Sequence[str]]:
        """One way each."""
        return {"im2col" if isinstance(problem, Conv2d) else "gemm": ("plain",)}

    def search_space(self, problem: Problem, choice: Config) -> SearchSpace | None:
        """None: cuBLAS chooses its kernels itself."""
        return None

    def build(self, problem: Problem, config: Config, arrays: Mapping[str, DeviceArray]) -> Work:
        """One call of matmul, which writes to the output; before it, im2col."""
        import cupy

        out = arrays["out"]
        if isinstance(problem, Conv2d):
            return _lowered(problem, arrays)
        left, right = (arrays[name] for name in problem.operand_shapes())
        right = right.T if isinstance(problem, Linear) else right
        return Work((("multiply", partial(cupy.matmul, left, right, out=out)),), 0, problem.flops())

    def library(self) -> str:
        """cuBLAS's version, and whether TF32 was asked for."""
        import cupy

        version = int(cupy.cuda.cublas.getVersion(cupy.cuda.Device().cublas_handle))
        return f"cuBLAS {version} in {cublas_math()}, {describe_device()}"


class CuDnn:
    """cuDNN's convolutions, where CuPy has them: until version 13."""

    def missing(self) -> str | None:
        """None, or that this CuPy has no cuDNN."""
        from importlib.util import find_spec

        if find_spec("cupy.cudnn") is None:
            return "this CuPy has no cuDNN. Use CuPy 13: pip install 'cupy-cuda12x<14' and cuDNN"
        return _missing("cudnn", "cuDNN")

    def supports(self, problem: Problem) -> str | None:
        """None for a convolution that fits in memory."""
        if not isinstance(problem, Conv2d):
            return f"cupy:cudnn computes conv2d, not {problem.kind}"
        return too_little_memory(problem.minimal_bytes())

    def algorithms(self, problem: Problem) -> Mapping[str, Sequence[str]]:
        """It chooses its algorithm itself, by trying each once."""
        return {"library": ("plain",)}

    def search_space(self, problem: Problem, choice: Config) -> SearchSpace | None:
        """None: it searches for itself."""
        return None

    def build(self, problem: Problem, config: Config, arrays: Mapping[str, DeviceArray]) -> Work:
        """One call, which writes to the output, without tensor cores."""
        import cupy

        assert isinstance(problem, Conv2d)  # noqa: S101 - supports() refuses the others
        convolve = partial(
            cupy.cudnn.convolution_forward, arrays["x"], arrays["w"], None, arrays["out"],
            problem.pad, problem.stride, problem.dilation, problem.groups,
            auto_tune=True, tensor_core="never",
        )  # fmt: skip
        return Work((("convolve", convolve),), 0, problem.flops())

    def library(self) -> str:
        """cuDNN's version."""
        import cupy

        return f"cuDNN {cupy.cuda.cudnn.getVersion()}, {describe_device()}"


class CuFft:
    """Convolution through the frequency domain: cuFFT, and cuBLAS for the products."""

    def missing(self) -> str | None:
        """None, or which library is not found."""
        return _missing("cufft", "cuFFT") or _missing("cublas", "cuBLAS")

    def supports(self, problem: Problem) -> str | None:
        """None for a convolution whose spectra fit in memory."""
        if not isinstance(problem, Conv2d):
            return f"cupy:cufft computes conv2d, not {problem.kind}"
        return too_little_memory(problem.minimal_bytes() + 2 * _spectra_bytes(problem))

    def algorithms(self, problem: Problem) -> Mapping[str, Sequence[str]]:
        """Filters are transformed in each call."""
        return {"fft": ("plain",)}

    def search_space(self, problem: Problem, choice: Config) -> SearchSpace | None:
        """None: nothing to tune."""
        return None

    def build(self, problem: Problem, config: Config, arrays: Mapping[str, DeviceArray]) -> Work:
        """Transform images and filters, multiply per frequency, transform back."""
        assert isinstance(problem, Conv2d)  # noqa: S101 - supports() refuses the others
        flops = transform_flops(problem, transform_geometry(problem, full=True), prepared=False)
        call = _spectral(problem, arrays)
        nbytes = 2 * _spectra_bytes(problem)
        return Work((("convolve", call),), nbytes, flops, SPECTRAL_LAUNCHES)

    def library(self) -> str:
        """The versions of CuPy, the driver and the device."""
        return f"cuFFT, {describe_device()}"


def cublas_math() -> str:
    """How cuBLAS multiplies float32: "TF32" where CUPY_TF32 asks for that, else "float32"."""
    return "TF32" if os.environ.get(TF32) == "1" else "float32"


def _missing(module: str, name: str) -> str | None:
    import cupy

    try:
        getattr(cupy.cuda, module)
    except (ImportError, AttributeError, RuntimeError):
        major = int(cupy.cuda.runtime.runtimeGetVersion()) // 1000
        toolkit = f"pip install 'cupy-cuda{major}x[ctk]'"
        return f"CuPy does not find {name}. Install CUDA's libraries with: {toolkit}"
    return None


def _lowered(problem: Conv2d, arrays: Mapping[str, DeviceArray]) -> Work:
    """All images' columns, then one batched product: (groups, m, k) · (images, groups, k, n)."""
    import cupy

    shape, groups = problem.gemm(), problem.groups
    filters = arrays["w"].reshape(groups, shape.m, shape.k)
    out = arrays["out"].reshape(problem.batch, groups, shape.m, shape.n)
    if not problem.im2col_bytes():
        columns = arrays["x"].reshape(problem.batch, groups, shape.k, shape.n)
        return Work(
            (("multiply", partial(cupy.matmul, filters, columns, out=out)),), 0, problem.flops()
        )
    columns = cupy.empty((problem.batch, groups, shape.k, shape.n), "float32")
    launch = im2col_launch(problem, arrays["x"], columns, problem.batch)
    multiply = partial(cupy.matmul, filters, columns, out=out)
    return Work((("im2col", launch), ("multiply", multiply)), columns.nbytes, problem.flops())


def _spectral(problem: Conv2d, arrays: Mapping[str, DeviceArray]) -> Any:
    """The call. Axes while multiplying: (row, column, group, image or filter, channel)."""
    import cupy

    geometry = transform_geometry(problem, full=True)
    rows, columns = geometry.rows.pixels(0)[0].stop, geometry.columns.pixels(0)[0].stop
    down_to, right_to = geometry.rows.filters(0)[1], geometry.columns.filters(0)[1]
    groups, per_group = problem.groups, problem.channels // problem.groups
    (p, q), (down, right) = problem.output_size(), problem.stride
    taps = cupy.zeros((problem.filters, per_group, *geometry.points), problem.dtype)
    places = (cupy.asarray(down_to[:, None]), cupy.asarray(right_to[None, :]))
    x, out = arrays["x"][:, :, :rows, :columns], arrays["out"]
    w = arrays["w"][:, :, : len(down_to), : len(right_to)]  # the first taps; others read zeros

    def call() -> None:
        taps[(slice(None), slice(None), *places)] = w
        images = cupy.fft.rfft2(x, s=geometry.points)
        filters = cupy.fft.rfft2(taps, s=geometry.points)
        images = images.reshape(problem.batch, groups, per_group, *geometry.frequencies)
        filters = filters.reshape(groups, -1, per_group, *geometry.frequencies)
        products = cupy.matmul(images.transpose(3, 4, 1, 0, 2), filters.transpose(3, 4, 0, 2, 1))
        spectra = products.transpose(3, 2, 4, 0, 1).reshape(
            problem.batch, problem.filters, *geometry.frequencies
        )
        full = cupy.fft.irfft2(spectra, s=geometry.points)
        kept = full[..., : (p - 1) * down + 1 : down, : (q - 1) * right + 1 : right]
        cupy.copyto(out, kept)

    return call


def _spectra_bytes(problem: Conv2d) -> int:
    """Of images, filters and products."""
    n, c, k = problem.batch, problem.channels, problem.filters
    frequencies = prod(transform_geometry(problem, full=True).frequencies)
    complex_bytes = 2 * np.dtype(problem.dtype).itemsize
    return complex_bytes * frequencies * (n * c + k * (c // problem.groups) + n * k)
