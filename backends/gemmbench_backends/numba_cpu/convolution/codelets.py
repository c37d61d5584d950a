"""Discrete Fourier transforms as straight-line LLVM IR, a register of channels for each number.

A number is the name of a register, or None where it is known to be zero; a complex number is two of
them. Zeros are never computed with, so a transform of a few pixels among zeros costs less.

Even lengths halve (decimation in time), odd ones are computed by their definition, folded by
symmetry. Source: Cooley & Tukey 1965; the real transforms as in Sorensen et al. 1987, "Real-Valued
Fast Fourier Transform Algorithms".
"""

from collections.abc import Sequence
from math import cos, pi, sin

from gemmbench_backends.numba_cpu.emit import Function

Real = str | None
Complex = tuple[Real, Real]

_EXACT = 1e-12  # cosines and sines this near to 0 and ±1 are that
ZERO: Complex = (None, None)


def real_forward(f: Function, x: Sequence[Real]) -> list[Complex]:
    """Σ x[j]·exp(-2πi·jk/n) for k = 0 … n // 2; the rest are the conjugates of these."""
    n = len(x)
    if n % 2:
        return _real_by_definition(f, x)
    if n == 2:
        return [(add(f, x[0], x[1]), None), (subtract(f, x[0], x[1]), None)]
    even, odd = real_forward(f, x[0::2]), real_forward(f, x[1::2])
    half = n // 2
    out = [ZERO] * (half + 1)
    for k in range(half // 2 + 1):
        turned = turn(f, odd[k], -2 * pi * k / n)
        out[k] = add_complex(f, even[k], turned)
        if half - k != k:
            re, im = subtract_complex(f, even[k], turned)
            out[half - k] = (re, negate(f, im))
    return out


def real_backward(f: Function, x: Sequence[Complex], n: int) -> list[Real]:
    """n times the real sequence of length n whose transform begins with `x`, of n // 2 + 1."""
    if n == 1:
        return [x[0][0]]
    if n == 2:
        return [add(f, x[0][0], x[1][0]), subtract(f, x[0][0], x[1][0])]
    if n % 2:
        return _real_back_by_definition(f, x, n)
    half = n // 2
    even, odd = [ZERO] * (half // 2 + 1), [ZERO] * (half // 2 + 1)
    for k in range(half // 2 + 1):
        (a_re, a_im), (b_re, b_im) = x[k], x[half - k]
        if k == half - k:
            even[k] = (add(f, a_re, a_re), None)
            odd[k] = (negate(f, add(f, a_im, a_im)), None)
            continue
        even[k] = (add(f, a_re, b_re), subtract(f, a_im, b_im))
        odd[k] = turn(f, (subtract(f, a_re, b_re), add(f, a_im, b_im)), 2 * pi * k / n)
    out: list[Real] = [None] * n
    out[0::2], out[1::2] = real_backward(f, even, half), real_backward(f, odd, half)
    return out


def complex_transform(f: Function, x: Sequence[Complex], sign: int) -> list[Complex]:
    """Σ x[j]·exp(sign·2πi·jk/n) for k = 0 … n - 1."""
    n = len(x)
    if n == 1:
        return list(x)
    if n % 2:
        return _complex_by_definition(f, x, sign)
    even, odd = complex_transform(f, x[0::2], sign), complex_transform(f, x[1::2], sign)
    out = [ZERO] * n
    for k in range(n // 2):
        turned = turn(f, odd[k], sign * 2 * pi * k / n)
        out[k] = add_complex(f, even[k], turned)
        out[k + n // 2] = subtract_complex(f, even[k], turned)
    return out


def _real_by_definition(f: Function, x: Sequence[Real]) -> list[Complex]:
    n, half = len(x), (len(x) - 1) // 2
    sums = [add(f, x[j], x[n - j]) for j in range(1, half + 1)]
    differences = [subtract(f, x[j], x[n - j]) for j in range(1, half + 1)]
    first = x[0]
    for value in sums:
        first = add(f, first, value)
    out: list[Complex] = [(first, None)]
    for k in range(1, half + 1):
        re, im = x[0], None
        for j in range(1, half + 1):
            re = multiply_add(f, sums[j - 1], cos(2 * pi * j * k / n), re)
            im = multiply_add(f, differences[j - 1], -sin(2 * pi * j * k / n), im)
        out.append((re, im))
    return out


def _real_back_by_definition(f: Function, x: Sequence[Complex], n: int) -> list[Real]:
    half = (n - 1) // 2
    total: Real = None
    for k in range(1, half + 1):
        total = add(f, total, x[k][0])
    out: list[Real] = [None] * n
    out[0] = multiply_add(f, total, 2.0, x[0][0])
    for j in range(1, half + 1):
        even, odd = x[0][0], None
        for k in range(1, half + 1):
            even = multiply_add(f, x[k][0], 2 * cos(2 * pi * j * k / n), even)
            odd = multiply_add(f, x[k][1], -2 * sin(2 * pi * j * k / n), odd)
        out[j], out[n - j] = add(f, even, odd), subtract(f, even, odd)
    return out


def _complex_by_definition(f: Function, x: Sequence[Complex], sign: int) -> list[Complex]:
    """By the real transforms of both parts, X = R + i·I, which serve k and n - k."""
    n = len(x)
    real = _real_by_definition(f, [re for re, _ in x])
    imaginary = _real_by_definition(f, [im for _, im in x])
    out = [ZERO] * n
    out[0] = (real[0][0], imaginary[0][0])
    for k in range(1, (n + 1) // 2):
        (a, b), (c, d) = real[k], imaginary[k]
        minus = (subtract(f, a, d), add(f, b, c))
        plus = (add(f, a, d), subtract(f, c, b))
        out[k], out[n - k] = (minus, plus) if sign < 0 else (plus, minus)
    return out


def add(f: Function, a: Real, b: Real) -> Real:
    """a + b."""
    if a is None or b is None:
        return b if a is None else a
    return f.new(f"fadd {f.vector.type} {a}, {b}")


def subtract(f: Function, a: Real, b: Real) -> Real:
    """a - b."""
    if b is None:
        return a
    return negate(f, b) if a is None else f.new(f"fsub {f.vector.type} {a}, {b}")


def negate(f: Function, a: Real) -> Real:
    """-a."""
    return None if a is None else f.new(f"fneg {f.vector.type} {a}")


def scale(f: Function, a: Real, factor: float) -> Real:
    """factor · a, for free where the factor is 0 or ±1."""
    if a is None or abs(factor) < _EXACT:
        return None
    if abs(abs(factor) - 1) < _EXACT:
        return a if factor > 0 else negate(f, a)
    return f.new(f"fmul {f.vector.type} {a}, {f.constant(factor)}")


def multiply_add(f: Function, a: Real, factor: float, total: Real) -> Real:
    """factor · a + total."""
    if a is None or abs(factor) < _EXACT:
        return total
    if total is None:
        return scale(f, a, factor)
    if abs(abs(factor) - 1) < _EXACT:
        return add(f, total, a) if factor > 0 else subtract(f, total, a)
    return f.fma(a, f.constant(factor), total)


def add_complex(f: Function, a: Complex, b: Complex) -> Complex:
    """a + b."""
    return add(f, a[0], b[0]), add(f, a[1], b[1])


def subtract_complex(f: Function, a: Complex, b: Complex) -> Complex:
    """a - b."""
    return subtract(f, a[0], b[0]), subtract(f, a[1], b[1])


def turn(f: Function, a: Complex, angle: float) -> Complex:
    """a · exp(i·angle)."""
    c, s, (re, im) = cos(angle), sin(angle), a
    return (
        multiply_add(f, re, c, scale(f, im, -s)),
        multiply_add(f, re, s, scale(f, im, c)),
    )
