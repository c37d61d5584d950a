"""Global and shared memory that object: to strangers, to crooked addresses, to races."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .parse import PtxError

WORD = 4  # bytes: everything in memory is made of 32-bit words
BUFFER_BITS = 40  # address = (buffer + 1) << BUFFER_BITS | byte
ALIGNMENT = 64  # what is kept of an array's own alignment
LANE_BITS = 11  # a thread's number in its block, and SEVERAL
SEVERAL = 2**LANE_BITS - 1
IN_FLIGHT = np.int32(2**31 - 1)

Ints = NDArray[np.int64]
Words = NDArray[np.float32]


@dataclass(slots=True)
class Global:
    """The arrays that a launch was given. `writers` remembers which thread wrote an element."""

    arrays: list[Words] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    writers: dict[int, NDArray[np.int32]] = field(default_factory=dict)

    def add(self, array: NDArray[Any]) -> np.uint64:
        """The address of a C-contiguous float32 array."""
        if array.dtype != np.float32 or not array.flags.c_contiguous:
            raise PtxError(f"a kernel was given {array.dtype} {array.strides}, not dense float32")
        flat = array.reshape(-1)
        assert np.shares_memory(flat, array) or flat.size == 0
        start = (len(self.arrays) + 1) << BUFFER_BITS | array.ctypes.data % ALIGNMENT
        self.arrays.append(flat)
        self.starts.append(start)
        return np.uint64(start)

    def load(self, addresses: Ints, width: int, threads: Ints, what: str) -> Words:
        """(width, threads): `width` words from each address."""
        values = np.empty((width, addresses.size), np.float32)
        for buffer, chosen in self._buffers(addresses):
            index = self._index(buffer, addresses[chosen], width, what)
            self._check_written(buffer, index, threads[chosen], what)
            values[:, chosen] = self.arrays[buffer][index]
        return values

    def store(self, addresses: Ints, values: Words, threads: Ints, what: str) -> None:
        """Write `values`, (width, threads). No element is written by two threads of a launch."""
        for buffer, chosen in self._buffers(addresses):
            index = self._index(buffer, addresses[chosen], len(values), what)
            array = self.arrays[buffer]
            if not array.flags.writeable:
                raise PtxError(f"{what} into an input")
            if buffer not in self.writers:
                self.writers[buffer] = np.full(array.size, -1, np.int32)
            self._check_written(buffer, index, threads[chosen], what)
            owners = np.broadcast_to(threads[chosen], index.shape)
            self.writers[buffer][index] = owners
            if (self.writers[buffer][index] != owners).any():
                raise PtxError(f"race: {what} of one element by two threads")
            array[index] = values[:, chosen]

    def _buffers(self, addresses: Ints) -> list[tuple[int, Any]]:
        numbers = (addresses >> BUFFER_BITS) - 1
        first = int(numbers[0])
        if (numbers == first).all():
            found = [first]
            chosen: list[Any] = [slice(None)]
        else:
            found = [int(n) for n in np.unique(numbers)]
            chosen = [np.flatnonzero(numbers == n) for n in found]
        for number in found:
            if not 0 <= number < len(self.arrays):
                raise PtxError(f"a pointer that points nowhere: {int(addresses[0]):#x}")
        return list(zip(found, chosen, strict=True))

    def _index(self, buffer: int, addresses: Ints, width: int, what: str) -> Ints:
        if (addresses % (WORD * width)).any():
            raise PtxError(f"misaligned {what}")
        first = (addresses - self.starts[buffer]) // WORD
        size = self.arrays[buffer].size
        outside = (first < 0) | (first + width > size)
        if outside.any():
            raise PtxError(f"{what} outside its array: element {first[outside][0]} of {size}")
        return first + np.arange(width)[:, None]

    def _check_written(self, buffer: int, index: Ints, threads: Ints, what: str) -> None:
        if buffer in self.writers:
            owner = self.writers[buffer][index]
            if ((owner != -1) & (owner != threads)).any():
                raise PtxError(f"race: {what} of an element that another thread wrote")


class Shared:
    """The shared memory of some blocks, (blocks * words). NaN until it is written.

    Each word remembers who read and who wrote it since the last barrier of its block, as
    `epoch << LANE_BITS | lane`: what is ordered by nothing but luck is found in any order.
    """

    def __init__(self, blocks: int, nbytes: int, lanes: int) -> None:
        self.words = -(-nbytes // WORD)
        self.nbytes = nbytes
        self.values = np.full(blocks * self.words, np.nan, np.float32)
        self.wrote = np.full(blocks * self.words, -1, np.int32)
        self.read = np.full(blocks * self.words, -1, np.int32)
        self.epochs = np.zeros(blocks, np.int32)
        self.block = np.repeat(np.arange(blocks), lanes)
        self.lane = np.tile(np.arange(lanes, dtype=np.int32), blocks)

    def barrier(self, blocks: Any) -> None:
        """What the threads of `blocks` did so far is ordered before what they do now."""
        self.epochs[blocks] += 1

    def load(self, threads: Any, addresses: Ints, width: int, what: str) -> Words:
        """(width, threads): `width` words from each address."""
        index = self._index(threads, addresses, width, what)
        base, own = self._marks(threads)
        self._check(self.wrote[index], base, own, what, "wrote")
        before = self.read[index]
        mine = np.where((before >= base) & (before != own), base + SEVERAL, own)
        self.read[index] = mine
        shared = self.read[index] != mine  # several threads in this very access
        if shared.any():
            several = np.broadcast_to(base + SEVERAL, index.shape)
            self.read[index[shared]] = several[shared]
        return self.values[index]

    def store(self, threads: Any, addresses: Ints, values: Words, what: str) -> None:
        """Write `values`, (width, threads)."""
        index = self._index(threads, addresses, len(values), what)
        self._claim(threads, index, what)
        self.values[index] = values

    def begin_copy(self, threads: Any, addresses: Ints, width: int, what: str) -> Ints:
        """The words of an asynchronous copy, which nobody may touch until it has landed."""
        index = self._index(threads, addresses, width, what)
        self._claim(threads, index, what)
        self.wrote[index] = IN_FLIGHT
        self.values[index] = np.nan
        return index

    def land(self, threads: Any, index: Ints, values: Words) -> None:
        """A copy has arrived: its thread sees it, the others after a barrier."""
        _, own = self._marks(threads)
        self.wrote[index] = np.broadcast_to(own, index.shape)
        self.values[index] = values

    def _index(self, threads: Any, addresses: Ints, width: int, what: str) -> Ints:
        if (addresses % (WORD * width)).any():
            raise PtxError(f"misaligned {what}")
        if (addresses < 0).any() or (addresses + WORD * width > self.nbytes).any():
            raise PtxError(f"{what} outside shared memory, byte {int(addresses.max())}")
        first = self.block[threads] * self.words + addresses // WORD
        return first + np.arange(width)[:, None]

    def _marks(self, threads: Any) -> tuple[Any, Any]:
        base = self.epochs[self.block[threads]] << LANE_BITS
        return base, base + self.lane[threads]

    def _claim(self, threads: Any, index: Ints, what: str) -> None:
        """The words become this thread's, unless somebody else used them since the barrier."""
        base, own = self._marks(threads)
        self._check(self.wrote[index], base, own, what, "wrote")
        self._check(self.read[index], base, own, what, "read")
        owners = np.broadcast_to(own, index.shape)
        self.wrote[index] = owners
        if (self.wrote[index] != owners).any():
            raise PtxError(f"race: {what} of one shared word by two threads")

    @staticmethod
    def _check(marks: Any, base: Any, own: Any, what: str, did: str) -> None:
        bad = (marks >= base) & (marks != own)
        if bad.any():
            if (marks[bad] == IN_FLIGHT).any():
                raise PtxError(f"{what} of a shared word whose asynchronous copy is in flight")
            raise PtxError(
                f"race: {what} of a shared word that another thread {did} since the last barrier"
            )


@dataclass(slots=True)
class Copy:
    """An asynchronous copy that was issued and has not landed."""

    threads: Ints
    group: Ints  # of each thread: it belongs to that thread's group of this number
    index: Ints  # (width, threads)
    values: Words


@dataclass(slots=True)
class Copies:
    """All copies in flight. A thread's commits close groups; waiting lands all but the last few."""

    shared: Shared
    committed: Ints  # groups each thread has closed
    flying: list[Copy] = field(default_factory=list)

    def issue(self, threads: Ints, index: Ints, values: Words) -> None:
        """Add copies to the threads' open groups."""
        self.flying.append(Copy(threads, self.committed[threads], index, values))

    def commit(self, threads: Any) -> None:
        """Close the threads' open groups."""
        self.committed[threads] += 1

    def wait(self, waiting: NDArray[np.bool_], pending: int) -> None:
        """Land what the waiting threads committed, all but their last `pending` groups."""
        still: list[Copy] = []
        for copy in self.flying:
            due = copy.group < self.committed[copy.threads] - pending
            due &= waiting[copy.threads]
            if due.any():
                landed = slice(None) if due.all() else np.flatnonzero(due)
                self.shared.land(
                    copy.threads[landed], copy.index[:, landed], copy.values[:, landed]
                )
            if not due.all():
                left = np.flatnonzero(~due)
                still.append(
                    Copy(copy.threads[left], copy.group[left], copy.index[:, left],
                         copy.values[:, left])
                )  # fmt: skip
        self.flying = still


def as_ints(values: Any, threads: Sequence[int] | Any, count: int) -> Ints:
    """Addresses of the given threads as int64, from a register of all threads or a scalar."""
    whole = np.broadcast_to(np.asarray(values), (count,))
    return whole[threads].astype(np.int64)
