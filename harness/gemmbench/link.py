"""The parent's end of a worker: starts the process, asks it, stops it while others are timed.

A worker that crashes, hangs or runs out of memory surfaces here as `WorkerLostError` with the
reason in one line; a request that merely raised surfaces as `RequestError` and the worker lives.
"""

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from gemmbench.backend import Location
from gemmbench.errors import GemmbenchError
from gemmbench.problem import Problem, problem_to_data
from gemmbench.reference import Case
from gemmbench.trial import TIMED_OUT, Environment

PROTOCOL_VERSIONS = (1, 2)  # that can be driven; a worker names its own when it starts
START_SECONDS = 60.0  # an interpreter and numpy, on a machine that is busy
GRACE_SECONDS = 2.0  # for a process that closed its pipe to be gone
STACK_SHIFT_BYTES = 4096  # by which the environment of a worker with a layout may grow
TAIL_BYTES = 400  # of a lost worker's stderr, for the reason
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip


class RequestError(Exception):
    """The backend raised; the worker is alive and can go on."""


class WorkerLostError(Exception):
    """The worker crashed, was killed, or did not answer in time."""


class Link:
    """One worker process for one backend and problem, or another `module` that serves alike.

    Use as a context manager.

    The process is stopped (SIGSTOP) whenever it is not answering, so that a library's spinning
    threads disturb nobody; time limits are counted only while it runs. One that drives a device
    is not: it spins for nobody, and a driver may need its threads.
    """

    def __init__(
        self,
        location: Location,
        problem: Problem | None,
        *,
        threads: int,
        timeout: float,
        memory_bytes: int = 0,
        environment: Environment | None = None,
        layout: int | None = None,
        module: str = "gemmbench.worker",
    ) -> None:
        self._module = module
        self.location = location
        self.protocol = 0  # the version the worker speaks, known once it has answered
        self._layout = layout
        self.timeout = timeout
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._closed = False
        self._stops = True  # a process that drives a device is left running
        self._process = self._start(threads, memory_bytes, environment or Environment())
        self._alive = os.pidfd_open(self._process.pid)  # readable once the process has ended
        self._greeted = False
        self._problem = problem

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def ask(self, method: str, *, timeout: float | None = None, **params: Any) -> dict[str, Any]:
        """The worker's reply to `method`. Raises RequestError or WorkerLostError."""
        self._signal(signal.SIGCONT)
        try:
            if not self._greeted:
                self._greet()
            result = self._exchange(method, params, timeout or self.timeout)
            self._stops = self._stops and not result.get("device")
            return result
        finally:
            if self._stops:
                self._signal(signal.SIGSTOP)

    def pin(self, core: int) -> None:
        """Keep the worker, and threads it starts from now on, on one CPU."""
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(self._process.pid, {core})

    def close(self) -> None:
        """Kill the worker and whatever it started. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        self._signal(signal.SIGKILL)
        self._process.wait()
        os.close(self._alive)
        self._let_go()

    def _let_go(self) -> None:
        os.close(self._requests)
        os.close(self._replies)
        self._output.close()

    def _start(
        self, threads: int, memory_bytes: int, environment: Environment
    ) -> subprocess.Popen[bytes]:
        child_reads, self._requests = os.pipe()
        self._replies, child_writes = os.pipe()
        private = (str(child_reads), str(child_writes), str(memory_bytes))
        python = environment.python or sys.executable
        try:
            return subprocess.Popen(  # noqa: S603 - the interpreter the user named
                [python, "-P", "-m", self._module, *private],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                pass_fds=(child_reads, child_writes),
                env=_variables(threads, environment, self._layout),
                start_new_session=True,
            )
        except OSError as error:
            self._let_go()
            raise GemmbenchError(f"cannot start a worker with {python!r}: {error}.") from error
        finally:
            os.close(child_reads)
            os.close(child_writes)

    def _greet(self) -> None:
        hello = self._receive(START_SECONDS)
        if hello.get("protocol") not in PROTOCOL_VERSIONS:
            spoken = " and ".join(map(str, PROTOCOL_VERSIONS))
            raise WorkerLostError(
                f"its worker speaks protocol {hello.get('protocol')}, this gemmbench "
                f"{spoken}: install a gemmbench there that is not newer than this one"
            )
        self.protocol = int(hello["protocol"])
        self._greeted = True
        problem = None if self._problem is None else problem_to_data(self._problem)
        opening = {"problem": problem, "layout": self._layout}
        self._exchange("open", opening, START_SECONDS)  # version 1 has no layouts and ignores it

    def _exchange(self, method: str, params: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        request = json.dumps({"method": method, "params": params}) + "\n"
        try:
            os.write(self._requests, request.encode())
        except BrokenPipeError:
            raise WorkerLostError(self._cause_of_death()) from None
        reply = self._receive(timeout)
        if reply.get("lost"):
            raise WorkerLostError(str(reply.get("error")))
        if "error" in reply or "result" not in reply:
            raise RequestError(str(reply.get("error", f"no reply to {method!r}")))
        result: dict[str, Any] = reply["result"]
        return result

    def _receive(self, timeout: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        chunks: list[bytes] = []
        while True:
            left = deadline - time.monotonic()
            watched = [self._replies, self._alive]
            ready, _, _ = select.select(watched, [], [], max(left, 0))
            if ready == [self._alive]:  # it ended, though a child may hold its pipe open
                raise WorkerLostError(self._cause_of_death())
            if not ready:
                raise WorkerLostError(f"{TIMED_OUT} after {timeout:g} s")
            chunk = os.read(self._replies, 65536)
            if not chunk:
                raise WorkerLostError(self._cause_of_death())
            chunks.append(chunk)
            if chunk.endswith(b"\n"):  # the worker sends nothing unasked: one line, one reply
                return _parse(b"".join(chunks))

    def _cause_of_death(self) -> str:
        try:
            code = self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its connection without ending"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # children it may have left behind
        cause = (
            f"exited with code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        )
        if code == -signal.SIGKILL:
            cause += " (the system may have run out of memory)"
        last = self.last_words()
        return f"{cause}: {last}" if last else cause

    def last_words(self) -> str:
        """The last line that the worker printed, for the reason of its death."""
        descriptor = self._output.fileno()
        size = os.fstat(descriptor).st_size
        tail = os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES))
        lines = tail.decode(errors="replace").split("\n")
        return next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "")

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise WorkerLostError("wrote something else than a reply into its connection")
    return message


def case_data(case: Case) -> dict[str, Any]:
    """`case` as a worker reads it."""
    return asdict(case)


def location_data(location: Location) -> dict[str, Any]:
    """`location` as a worker reads it."""
    return asdict(location)


def _variables(threads: int, environment: Environment, layout: int | None) -> dict[str, str]:
    """The worker's environment: thread counts fixed, and this interpreter's own import path.

    With a `layout`, its size varies too, and with it where the stack begins. Source: Mytkowicz et
    al. 2009, Producing wrong data without doing anything obviously wrong!, ASPLOS, section 4.
    """
    variables = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    if layout is not None:
        variables["GEMMBENCH_LAYOUT"] = "." * random.Random(layout).randrange(STACK_SHIFT_BYTES)
    if not environment.python:
        paths = [path for path in sys.path if path]
        variables["PYTHONPATH"] = os.pathsep.join([*paths, os.getcwd()])
    return {**variables, **dict(environment.variables)}
