"""Seconds as a model sees them."""

import numpy as np
from numpy.typing import NDArray

FAILURE_QUANTILE = 0.75  # of the times that succeeded, which a failure counts as


def standardised(seconds: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Log seconds of mean 0 and deviation 1; None where they do not differ or all failed.

    How slow the slow ones are teaches little about the fast ones, so what is farther above the
    median than the best is below it counts as that far above. NaN, a failure, counts as slow
    rather than as worst, because its neighbours often work.
    """
    failed = np.isnan(seconds)
    if failed.all():
        return None
    logs = np.log(np.where(failed, np.nanquantile(seconds, FAILURE_QUANTILE), seconds))
    if np.median(logs) > logs.min():
        logs = np.minimum(logs, 2 * np.median(logs) - logs.min())
    spread = float(logs.std())
    return (logs - logs.mean()) / spread if spread > 1e-9 else None
