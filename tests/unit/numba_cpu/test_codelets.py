"""The transforms that are generated, executed on numbers instead of registers, against numpy."""

import numpy as np
import pytest

from gemmbench_backends.numba_cpu.convolution import codelets
from gemmbench_backends.numba_cpu.convolution.fourier import LENGTHS


class Numbers:
    """Stands in for a function under construction: registers are float64 numbers."""

    def __init__(self):
        self.vector = type("Vector", (), {"type": ""})
        self.operations = 0

    def new(self, expression):
        self.operations += 1
        name, *operands = expression.replace(",", "").split()
        values = [float(value) for value in operands]
        return repr(
            {
                "fadd": lambda a, b: a + b, "fsub": lambda a, b: a - b, "fmul": lambda a, b: a * b,
                "fneg": lambda a: -a,
            }[name](*values)
        )  # fmt: skip

    def fma(self, a, b, c):
        self.operations += 1
        return repr(float(a) * float(b) + float(c))

    def constant(self, value):
        return repr(value)


def number(pair):
    return complex(*(0.0 if part is None else float(part) for part in pair))


EVERY = sorted({*LENGTHS, *range(1, 17)})


@pytest.mark.parametrize("n", EVERY)
def test_real_transforms_equal_numpys(n):
    x, f = np.random.default_rng(n).standard_normal(n), Numbers()
    spectrum = codelets.real_forward(f, [repr(float(value)) for value in x])
    np.testing.assert_allclose([number(k) for k in spectrum], np.fft.rfft(x), atol=1e-12)
    back = codelets.real_backward(f, spectrum, n)
    np.testing.assert_allclose([float(value) / n for value in back], x, atol=1e-12)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("n", EVERY)
def test_complex_transforms_equal_numpys(n, sign):
    rng, f = np.random.default_rng(n), Numbers()
    x = rng.standard_normal(n) + 1j * rng.standard_normal(n)
    parts = [(repr(float(value.real)), repr(float(value.imag))) for value in x]
    expected = np.fft.fft(x) if sign < 0 else n * np.fft.ifft(x)
    done = codelets.complex_transform(f, parts, sign)
    np.testing.assert_allclose([number(k) for k in done], expected, atol=1e-12)


@pytest.mark.parametrize("n", [8, 12, 14, 30])
def test_zeros_are_not_computed_with(n):
    x = np.zeros(n)
    x[: n // 3] = np.arange(1.0, 1 + n // 3)
    full, sparse = Numbers(), Numbers()
    codelets.real_forward(full, [repr(float(value)) for value in x])
    known = [repr(float(value)) if value else None for value in x]
    spectrum = codelets.real_forward(sparse, known)
    np.testing.assert_allclose([number(k) for k in spectrum], np.fft.rfft(x), atol=1e-12)
    assert sparse.operations < 0.75 * full.operations
