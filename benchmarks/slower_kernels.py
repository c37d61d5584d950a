"""Kernels that do real extra work, for gate_rates.py: named "benchmarks/slower_kernels.py:More5".

`product`: both operands are copied into buffers with room for a larger k, filled up with zeros, and
multiplied there, so the answer stays right and the work is that of the larger k. `stencil`: a 3x3
convolution in plain NumPy (multiplications and additions, no BLAS) that computes more rows.
"""

import numpy as np

ALIGNMENT = 64
ROOM = 0.3  # share by which buffers are larger, on every side alike


def aligned(shape):
    raw = np.zeros(int(np.prod(shape)) * 4 + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + int(np.prod(shape)) * 4].view(np.float32).reshape(shape)


class Product:
    """Multiplies with k enlarged by `share`."""

    def __init__(self, operands, share):
        self.a, self.b, self.out = operands["a"], operands["b"], operands["out"]
        (m, k), (_, n) = self.a.shape, self.b.shape
        room = k + round(ROOM * k)  # so that strides are alike
        self.k, self.more = k, k + round(share * k)
        self.wide, self.tall = aligned((m, room)), aligned((room, n))

    def run(self):
        np.copyto(self.wide[:, : self.k], self.a)
        np.copyto(self.tall[: self.k], self.b)
        np.matmul(self.wide[:, : self.more], self.tall[: self.more], out=self.out)

    def output(self):
        return self.out


class Stencil:
    """Convolves an image with rows added below, of which the answer is the part that counts."""

    def __init__(self, operands, share):
        x, self.w, self.out = operands["x"], operands["w"], operands["out"]
        self.x, (_, c, h, w) = x, x.shape
        rows = h - 2 + round(share * (h - 2))
        self.padded = aligned((c, h + round(ROOM * h), w))
        self.sum, self.term = aligned((rows, w - 2)), aligned((rows, w - 2))
        self.rows, self.columns = rows, w - 2

    def run(self):
        height = self.x.shape[2]
        np.copyto(self.padded[:, :height], self.x[0])
        for k, filters in enumerate(self.w):
            self.sum.fill(0)
            for c, taps in enumerate(filters):
                for r in range(3):
                    for s in range(3):
                        rows = self.padded[c, r : r + self.rows, s : s + self.columns]
                        np.multiply(rows, taps[r, s], out=self.term)
                        np.add(self.sum, self.term, out=self.sum)
            np.copyto(self.out[0, k], self.sum[: height - 2])

    def output(self):
        return self.out


class Base:
    """No extra work."""

    name = "base"
    share = rows = 0.0  # of k, and of the image's rows: those cost less, since Python's part stays

    def unavailable(self):
        return None

    def supports(self, problem):
        return None if problem.kind in ("gemm", "conv2d") else "computes gemm and 3x3 conv2d"

    def search_space(self, problem, machine, choice):
        return None

    def prepare(self, problem, config, operands):
        if problem.kind == "gemm":
            return Product(operands, self.share)
        return Stencil(operands, self.rows)


class More2(Base):
    """About 2 % slower."""

    name = "more2"
    share, rows = 0.028, 0.055


class More5(Base):
    """About 5 % slower."""

    name = "more5"
    share, rows = 0.06, 0.12


class More10(Base):
    """About 10 % slower."""

    name = "more10"
    share, rows = 0.12, 0.24


class Direct:
    """Works on the operands where they lie."""

    def __init__(self, operands):
        self.x, self.w, self.out = operands["x"][0], operands["w"], operands["out"][0]
        self.term = aligned(self.out.shape[1:])

    def run(self):
        _, rows, columns = self.out.shape
        self.out.fill(0)
        for total, filters in zip(self.out, self.w, strict=True):
            for image, taps in zip(self.x, filters, strict=True):
                for r in range(3):
                    for s in range(3):
                        pixels = image[r : r + rows, s : s + columns]
                        np.multiply(pixels, taps[r, s], out=self.term)
                        np.add(total, self.term, out=total)

    def output(self):
        return self.out[None]


class Shifted0(Base):
    """Allocates some bytes before anything else, which moves what plain NumPy allocates later."""

    name = "shifted0"
    ballast = 0

    def __init__(self):
        self.kept = [bytearray(self.ballast + 1024 * i) for i in range(9)]

    def prepare(self, problem, config, operands):
        return Direct(operands)


class Shifted16(Shifted0):
    name = "shifted16"
    ballast = 16


class Shifted32(Shifted0):
    name = "shifted32"
    ballast = 32


class Shifted48(Shifted0):
    name = "shifted48"
    ballast = 48
