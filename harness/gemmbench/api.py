"""The Python call: the stored winner of a problem as something ready to be called.

It runs in this process, so the backend's library and its threads do too; nothing is raced here.
"""

import os
from collections.abc import Mapping

import numpy as np

from gemmbench.backend import Array, Prepared, load_backend, locate_backend, prepared_by
from gemmbench.champion import champion
from gemmbench.errors import GemmbenchError
from gemmbench.machine import detect_machine
from gemmbench.operands import aligned_empty
from gemmbench.problem import Problem
from gemmbench.race import full_config
from gemmbench.self_description import source_hash
from gemmbench.trial import RaceProtocol, Trial

DEFAULT_DB = "results/gemmbench.db"


class BestKernel:
    """The winner of one problem, prepared. Call it with the operands, in their order.

    `operands` are its own aligned arrays: fill them in place and call `run()` to save the copies.
    """

    def __init__(self, trial: Trial) -> None:
        problem = trial.problem
        self.trial = trial
        self.operands: dict[str, Array] = {
            name: aligned_empty(shape, problem.dtype)
            for name, shape in problem.operand_shapes().items()
        }
        for array in self.operands.values():
            array.fill(0)
        out = aligned_empty(problem.output_shape(), problem.dtype)
        backend = load_backend(locate_backend(trial.contender.backend))
        config = full_config(trial.contender, trial.threads)
        given: Mapping[str, Array] = {**self.operands, "out": out}
        self._prepared: Prepared = prepared_by(backend, problem, config, given)

    def run(self) -> Array:
        """The answer for what `operands` hold now; the next call overwrites it."""
        load = getattr(self._prepared, "load", None)
        if load is not None:
            load()  # to a device, which has copies of its own
        self._prepared.run()
        wait = getattr(self._prepared, "synchronize", None)
        if wait is not None:
            wait()
        return np.asarray(self._prepared.output())

    def __call__(self, *arrays: Array) -> Array:
        """The answer for `arrays`, as an array of its own.

        Raises GemmbenchError where their number, shapes or types are not the problem's.
        """
        if len(arrays) != len(self.operands):
            raise GemmbenchError(
                f"best: got {len(arrays)} arrays, expected {', '.join(self.operands)}."
            )
        for array, (name, own) in zip(arrays, self.operands.items(), strict=True):
            if array.shape != own.shape or array.dtype != own.dtype:
                raise GemmbenchError(
                    f"best: {name}: got {array.dtype} {array.shape}, "
                    f"expected {own.dtype} {own.shape}."
                )
            np.copyto(own, array)
        return self.run().copy()


def best(
    problem: Problem,
    *,
    threads: int | None = None,
    max_error: float | None = None,
    db: str | os.PathLike[str] | None = None,
    allow_stale: bool = False,
) -> BestKernel:
    """The stored winner of `problem` on this machine, with plain weights.

    `threads` defaults to the physical cores, `db` to GEMMBENCH_DB or results/gemmbench.db. With
    `max_error` the winner of the races with that `--max-error`, without it of those with none.
    Raises GemmbenchError if no race of it is stored, or if the winner's kernel or library changed
    since, so that it may have lost: unless `allow_stale`.
    """
    from gemmbench_results.store import open_store

    machine = detect_machine()
    protocol = RaceProtocol(threads=threads or machine.cores, max_error=max_error)
    place = db or os.environ.get("GEMMBENCH_DB", DEFAULT_DB)
    with open_store(place, create=False) as store:
        found = champion(store.races(machine, protocol, problem), "plain")
    if found is None:
        raise GemmbenchError(
            f"best: no race of {problem} with {protocol.threads} threads is stored for this "
            "machine. Run 'gemmbench tune SUITE' with a suite that holds it."
        )
    if not allow_stale and current_hash(found.trial.contender.backend) != found.trial.source_hash:
        raise GemmbenchError(
            f"best: {found.trial.contender.label()} won run {found.run}, but its kernel or library "
            "changed since. Run 'gemmbench tune SUITE' again, or pass allow_stale=True."
        )
    return BestKernel(found.trial)


def current_hash(spec: str) -> str:
    """What the results of the backend `spec` are stored under now. Raises GemmbenchError."""
    backend = load_backend(locate_backend(spec))
    reason = backend.unavailable()
    if reason is not None:
        raise GemmbenchError(f"best: backend {spec!r} is unavailable: {reason}")
    library = getattr(backend, "library", None)
    return source_hash(backend, "" if library is None else str(library()))
