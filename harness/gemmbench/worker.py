"""The process that holds one backend: describes, prepares, verifies and times it on request.

Started by `link.py` as `python -m gemmbench.worker READ_FD WRITE_FD`. Requests and replies are
JSON lines on those two private descriptors (`serving.py`); stdout and stderr belong to the backend.
It knows nothing of suites, races or stores: it does what it is told, one request at a time.
"""

import gc
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gemmbench import self_description, verification
from gemmbench.backend import PER_IMAGE, Backend, Location, load_backend, prepared_by
from gemmbench.footprint import call_bytes, cold_ratio
from gemmbench.machine import machine_from_data
from gemmbench.operands import Array, Layout, aligned_empty, guarded_output, map_operands
from gemmbench.problem import Problem, problem_from_data
from gemmbench.serving import main
from gemmbench.timing import Copy, Slot, load, synchronize, time_block, time_stages

COLD_COPIES = 256  # most copies that cold mode rotates through
COLD_BYTES = 2**29  # and the most memory it takes: half a GiB

Json = dict[str, Any]


@dataclass(slots=True)
class Worker:
    """The backend under test and everything prepared with it. Methods are the requests."""

    problem: Problem
    layout: Layout = field(default_factory=Layout)
    backend: Backend | None = None  # the one described last
    backends: dict[str, Backend] = field(default_factory=dict)  # those of one device, by location
    slots: dict[int, Slot] = field(default_factory=dict)
    operands: dict[str, Array] = field(default_factory=dict)
    loaded: str = ""  # label of the case whose operands are in the buffers
    frozen: bool = False  # what imports and the first preparation left is no garbage

    def describe(
        self,
        location: Json,
        machine: Json,
        threads: int,
        offers: bool,
        lowering: Sequence[str] = (PER_IMAGE,),
    ) -> Json:
        """Import the backend; tell whether it can run and, if asked, what it offers to tune.

        `lowering`: the ways of lowering a batch that are wanted, of an algorithm that has several.

        Backends of one device share this process; later requests call them by `Location.key`.
        """
        at = Location(**location)
        self.backend = self.backends[at.key] = load_backend(at)
        asked = lowering if offers else None
        return self_description.describe(
            self.backend, at, self.problem, machine_from_data(machine), threads, asked
        )

    def load(self, case: Json) -> Json:
        """Copy the operands of `case` into every buffer, unless they are there already."""
        if self.loaded != case["label"]:
            mapped = map_operands(case["operands"])
            self.loaded = ""  # should this fail half way, the buffers hold neither case
            for buffers in self._buffers(mapped):
                for name, array in mapped.items():
                    np.copyto(buffers[name], array)
            for entry in self.slots.values():
                for copy in entry.copies:
                    load(copy.prepared)
            self.loaded = case["label"]
        return {}

    def prepare(
        self, slot: int, config: Json, case: Json, cold_bytes: int = 0, backend: str = ""
    ) -> Json:
        """Prepare a contender on the operands of `case`. With `cold_bytes`, on enough copies.

        A device that can flush its caches needs no copies.
        """
        self.load(case)
        self.backend = self.backends[backend] if backend else self.backend
        prepared = self._prepare(config, self.operands)
        copies = [prepared]
        workspace = getattr(prepared.prepared, "workspace_bytes", None)
        footprint = sum(a.nbytes for a in (*self.operands.values(), prepared.out.array))
        rotated = 0 if hasattr(prepared.prepared, "clock") else cold_bytes
        for _ in range(1, copies_for(rotated, footprint + (workspace or 0))):
            operands = {name: self._copy(array) for name, array in self.operands.items()}
            copies.append(self._prepare(config, operands))
        self.slots[slot] = Slot(str(config["algorithm"]), copies, cold=cold_bytes > 0)
        prepared_flops = getattr(prepared.prepared, "flops", None)
        if not self.frozen:
            gc.freeze()  # or each collection would walk everything a library ever made
            self.frozen = True
        return {
            "workspace_bytes": None if workspace is None else int(workspace),
            "flops": None if prepared_flops is None else int(prepared_flops),
            "copies": len(copies),
        }

    def verify(self, slot: int, case: Json, how: str = "poisoned") -> Json:
        """Compare every copy's answer on the operands of `case` with the right one.

        `how`: "poisoned" clears the output first and runs; "stale" runs over the output of the
        calls before, so that doing nothing is wrong on changed operands; "timed" looks at what
        the last timed call left and runs nothing.
        """
        self.load(case)
        found = verification.Verified()
        try:
            verification.verify(self.problem, self.slots[slot], case, how, found)
        finally:
            if found.inputs_changed:
                self.loaded = ""
        return found.reply()

    def time(self, slot: int, case: Json, loops: int, warmup: int) -> Json:
        """Seconds for `loops` calls, after `warmup` untimed ones."""
        self.load(case)
        entry = self.slots[slot]
        for _ in range(warmup):
            last = entry.next().prepared
            last.run()
            synchronize(last)
        return {"seconds": time_block(entry, loops)}

    def time_slice(self, slot: int, case: Json, calls: int, repeats: int, warmup: int) -> Json:
        """Seconds of each of `repeats` blocks of `calls` calls, after `warmup` untimed calls."""
        first = self.time(slot, case, calls, warmup)["seconds"]
        entry = self.slots[slot]
        return {"seconds": [first, *(time_block(entry, calls) for _ in range(1, repeats))]}

    def stages(self, slot: int, case: Json, repeats: int) -> Json:
        """Median seconds of each stage of one call, and of whole calls taken in turn with them."""
        self.load(case)
        seconds, call = time_stages(self.slots[slot], repeats)
        return {"seconds": seconds, "call": call}

    def footprint(self, slot: int, case: Json, probes: int) -> Json:
        """Memory that one call takes, and how cold operands are that should be."""
        self.load(case)
        entry = self.slots[slot]
        copy = entry.next()
        on_device = hasattr(copy.prepared, "synchronize")
        return {
            "call_bytes": None if on_device else call_bytes(copy.prepared.run),
            "cold_ratio": cold_ratio(entry, probes),
        }

    def device_state(self) -> Json:
        """How the device is doing now: clocks, power, throttling."""
        return {"state": dict(self_description.optional(self.backend, "device_state", {}))}

    def ways(self, location: Json, problems: Sequence[Json]) -> Json:
        """The algorithms that the backend offers for each of `problems`; none if it cannot run."""
        asked = [problem_from_data(data) for data in problems]
        return {"ways": self_description.ways(load_backend(Location(**location)), asked)}

    def listing(self, location: Json, arch: str, processes: int) -> Json:
        """What a compiler says of each config of the problem on `arch`; needs no device."""
        backend = load_backend(Location(**location))
        return {"rows": self_description.listing(backend, self.problem, arch, processes)}

    def diagnose(self, location: Json) -> Json:
        """The report of a backend's own checks of its device; None if it has none."""
        return {
            "report": self_description.optional(
                load_backend(Location(**location)), "diagnose", None
            )
        }

    def lost(self) -> str | None:
        """Why this process can do no more for its backend, after an error; None if it can."""
        reason: str | None = (
            None if self.backend is None else self_description.optional(self.backend, "lost", None)
        )
        return reason

    def release(self, slot: int) -> Json:
        """Drop a prepared contender and its memory, reference cycles included."""
        self.slots.pop(slot, None)
        gc.collect()
        return {}

    def _prepare(self, config: Json, operands: dict[str, Array]) -> Copy:
        assert self.backend is not None  # noqa: S101 - describe() is always the first request
        out = guarded_output(self.problem, self.layout.shift())
        given = {**operands, "out": out.array}
        return Copy(operands, out, prepared_by(self.backend, self.problem, config, given))

    def _buffers(self, mapped: Mapping[str, Array]) -> list[dict[str, Array]]:
        if not self.operands:
            self.operands = {name: self._empty(array) for name, array in mapped.items()}
        copies = (copy.operands for slot in self.slots.values() for copy in slot.copies[1:])
        return [self.operands, *copies]

    def _empty(self, like: Array) -> Array:
        return aligned_empty(like.shape, str(like.dtype), self.layout.shift())

    def _copy(self, array: Array) -> Array:
        fresh = self._empty(array)
        np.copyto(fresh, array)
        return fresh


def copies_for(cold_bytes: int, footprint: int) -> int:
    """How many copies of `footprint` bytes pass through `cold_bytes` of cache before a reuse."""
    if cold_bytes == 0:
        return 1
    affordable = max(2, COLD_BYTES // footprint)
    return min(COLD_COPIES, affordable, max(2, 1 + -(-cold_bytes // footprint)))


def open_worker(params: Mapping[str, Any]) -> Worker:
    """The worker for the problem and layout that a connection is opened with."""
    return Worker(problem_from_data(params["problem"]), Layout(params.get("layout")))


if __name__ == "__main__":
    main(sys.argv[1:], open_worker)
