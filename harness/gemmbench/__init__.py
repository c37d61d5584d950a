"""gemmbench: a fair, verified race between all ways of computing a network's layers."""

import os
from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def best(
    problem: object,
    *,
    threads: int | None = None,
    max_error: float | None = None,
    db: str | os.PathLike[str] | None = None,
    allow_stale: bool = False,
) -> Any:
    """The stored winner of `problem` on this machine, ready to be called: `api.BestKernel`.

    `threads` defaults to the physical cores, `db` to GEMMBENCH_DB or results/gemmbench.db. With
    `max_error` the winner of the races with that `--max-error`, without it of those with none.
    Raises GemmbenchError if no race of it is stored, or if the winner's kernel or library changed
    since, unless `allow_stale`.
    """
    # By name: every module imports this package, and the command line starts without numpy.
    api = import_module("gemmbench.api")
    return api.best(problem, threads=threads, max_error=max_error, db=db, allow_stale=allow_stale)
