"""A Gaussian process over every config of a table: what is known of those not yet measured.

One Matérn-5/2 kernel of one distance (features.py), whose length scales, signal and noise are the
most probable ones under weak priors (Rasmussen & Williams, Gaussian Processes for Machine
Learning, 2006: eq. 2.30 for the likelihood, 5.9 for its gradient, 4.17 for the kernel). The
posterior over all configs is kept as L⁻¹K(measured, all), one row a measurement, so that one more
measurement costs a few milliseconds at 20,000 configs.
"""

import contextlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from gemmbench.space import Rows
from gemmbench.tune.features import Coordinate

SHORTEST, LONGEST = np.log(0.05), np.log(20.0)  # length scales, in spans of an axis
LENGTH_SPREAD = {"size": 0.7, "alignment": 1.0, "sameness": 1.0}  # of their log
SIGNAL_SPREAD = 1.0
LENGTH = 0.0
NOISE, NOISE_SPREAD = np.log(0.01), 1.0  # of standardised log seconds: about 10 % of their spread
NOISE_BOUNDS = (np.log(1e-4), np.log(0.5))
JITTER = 1e-6
FIT_STEPS = 25
TREND_VARIANCE = 1.0  # of the factor by which a trend from elsewhere is believed

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]  # of tables over all configs: half the memory traffic


class Surrogate:
    """Predicts standardised log seconds of every row of a table from those measured.

    `trend`, where given, is a guess at every config from elsewhere; how much it is worth, down to
    nothing or less, is learned with everything else.
    """

    def __init__(
        self, rows: Rows, coordinates: Sequence[Coordinate], trend: Array | None = None
    ) -> None:
        used = sorted({coordinate.axis for coordinate in coordinates})
        sizes = {c.axis: len(c.squared) for c in coordinates}
        starts = dict(zip(used, np.cumsum([0, *(sizes[axis] for axis in used)]), strict=False))
        width = sum(sizes.values())
        self._member = np.zeros((len(rows), width), np.float32)  # one-hot: which values a row has
        for axis in used:
            self._member[np.arange(len(rows)), starts[axis] + rows[:, axis]] = 1
        self._tables = np.zeros((len(coordinates), width, width))
        for at, coordinate in enumerate(coordinates):
            own = slice(starts[coordinate.axis], starts[coordinate.axis] + sizes[coordinate.axis])
            self._tables[at, own, own] = coordinate.squared
        spreads = [LENGTH_SPREAD[coordinate.kind] for coordinate in coordinates]
        self._prior = np.array([*np.full(len(spreads), LENGTH), 0.0, NOISE])
        self._spread = np.array([*spreads, SIGNAL_SPREAD, NOISE_SPREAD])
        self._bounds = [*[(SHORTEST, LONGEST)] * len(spreads), (-3.0, 3.0), NOISE_BOUNDS]
        self._theta = self._prior.copy()
        self._trend = trend
        self._measured: list[int] = []
        self._lower = np.empty((0, 0))
        self._half = np.empty((0, len(rows)), np.float32)
        self._variance = np.empty(0, np.float32)

    @property
    def count(self) -> int:
        """How many measurements are taken into account."""
        return len(self._measured)

    def fit(self, measured: Sequence[int], y: Array, learn_from: NDArray[np.intp]) -> None:
        """Learn the kernel from the measurements at places `learn_from`, then use all of them."""
        rows = np.array(measured)[learn_from]
        found = minimize(
            self._objective, self._theta, args=(rows, y[learn_from]), jac=True,
            method="L-BFGS-B", bounds=self._bounds, options={"maxiter": FIT_STEPS},
        )  # fmt: skip
        if np.isfinite(found.fun):
            self._theta = found.x
        self.condition(measured)

    def add(self, number: int) -> None:
        """Take one more measurement into account, the kernel unchanged."""
        done = self.count
        self._reserve(done + 1)
        row = self._covariance(np.array([number]))[0]
        known = self._half[:done, number].astype(np.float64)
        own = float(row[number]) + self._noise() - float(known @ known)
        pivot = np.sqrt(max(own, JITTER))
        self._lower[done, :done], self._lower[done, done] = known, pivot
        self._half[done] = (row - known.astype(np.float32) @ self._half[:done]) / np.float32(pivot)
        self._variance -= self._half[done] ** 2
        self._measured.append(number)

    def predict(self, y: Array) -> tuple[Array32, Array32]:
        """Mean and standard deviation for every row, given the values measured so far."""
        done = self.count
        weights = solve_triangular(self._lower[:done, :done], y, lower=True, check_finite=False)
        mean = weights.astype(np.float32) @ self._half[:done]
        return mean, np.sqrt(np.maximum(self._variance, np.float32(1e-8)))

    def condition(self, measured: Sequence[int]) -> None:
        """Take exactly these measurements into account, the kernel unchanged."""
        done, numbers = len(measured), np.array(measured)
        self._measured = []
        self._reserve(done)
        across = self._covariance(numbers)
        within = across[:, numbers].astype(np.float64)
        within[np.diag_indices(done)] += self._noise()
        lower = _factor(within)
        self._lower[:done, :done] = lower
        inverse = solve_triangular(lower, np.eye(done), lower=True, check_finite=False)
        np.matmul(inverse.astype(np.float32), across, out=self._half[:done])
        own = np.full(len(self._member), np.exp(self._theta[-2]), np.float32)
        if self._trend is not None:
            own += (TREND_VARIANCE * self._trend**2).astype(np.float32)
        self._variance = own - np.einsum("ij,ij->j", self._half[:done], self._half[:done])
        self._measured = list(measured)

    def _reserve(self, rows: int) -> None:
        """Room for that many measurements, doubled when it runs out."""
        if rows > len(self._lower):
            room = max(64, 2 * rows)
            lower, half = np.zeros((room, room)), np.empty((room, len(self._member)), np.float32)
            done = self.count
            lower[:done, :done], half[:done] = self._lower[:done, :done], self._half[:done]
            self._lower, self._half = lower, half

    def _covariance(self, numbers: NDArray[np.intp]) -> Array32:
        """Prior covariance of some rows with all: (len(numbers), rows)."""
        weights = np.exp(-2 * self._theta[:-2])
        geometry = np.tensordot(weights, self._tables, 1).astype(np.float32)
        squared: Array32 = np.matmul(self._member[numbers] @ geometry, self._member.T)
        covariance: Array32 = np.float32(np.exp(self._theta[-2])) * _matern(squared)
        if self._trend is not None:
            covariance += np.outer(TREND_VARIANCE * self._trend[numbers], self._trend)
        return covariance

    def _noise(self) -> float:
        return float(np.exp(self._theta[-1])) + JITTER

    def _objective(self, theta: Array, rows: NDArray[np.intp], y: Array) -> tuple[float, Array]:
        """Negative log posterior of the kernel's parameters, and its gradient."""
        weights, signal, noise = np.exp(-2 * theta[:-2]), np.exp(theta[-2]), np.exp(theta[-1])
        member = self._member[rows].astype(np.float64)
        squared = (member @ np.tensordot(weights, self._tables, 1)) @ member.T
        scaled = np.sqrt(5 * np.maximum(squared, 0))
        decay = np.exp(-scaled)
        correlation = (1 + scaled + scaled**2 / 3) * decay
        covariance = signal * correlation
        if self._trend is not None:
            covariance += np.outer(TREND_VARIANCE * self._trend[rows], self._trend[rows])
        covariance[np.diag_indices(len(y))] += noise + JITTER
        try:
            factor = cho_factor(covariance, lower=True, check_finite=False)
        except LinAlgError:
            return 1e10, np.zeros_like(theta)
        alpha = cho_solve(factor, y, check_finite=False)
        inverse = cho_solve(factor, np.eye(len(y)), check_finite=False)
        slope = 0.5 * (inverse - np.outer(alpha, alpha))  # of the objective by the covariance
        by_distance = slope * (-5 / 6 * signal) * (1 + scaled) * decay
        by_table = np.tensordot(self._tables, member.T @ by_distance @ member, 2)
        gradient = [
            *(-2 * weights * by_table),
            signal * np.sum(slope * correlation),
            noise * np.trace(slope),
        ]
        off = (theta - self._prior) / self._spread
        value = 0.5 * y @ alpha + np.log(np.diag(factor[0])).sum() + 0.5 * off @ off
        return float(value), np.array(gradient) + off / self._spread


def _factor(covariance: Array) -> Array:
    """The lower Cholesky factor, with as much more on the diagonal as rounding makes necessary."""
    identity: Array = np.eye(len(covariance))
    for more in (0.0, 1e-6, 1e-5, 1e-4, 1e-3):
        with contextlib.suppress(LinAlgError):
            return np.asarray(np.linalg.cholesky(covariance + more * identity), np.float64)
    return np.asarray(np.linalg.cholesky(covariance + 1e-2 * identity), np.float64)


def _matern(squared: Array32) -> Array32:
    """The Matérn-5/2 correlation at squared distances; works in place on one temporary."""
    scaled = np.sqrt(np.maximum(squared, 0, out=squared) * np.float32(5))
    decay = np.exp(-scaled)
    polynomial = np.float32(1) + scaled * (np.float32(1) + scaled / np.float32(3))
    return np.multiply(polynomial, decay)
