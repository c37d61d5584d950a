"""The worker's end of the protocol: requests as JSON lines on private descriptors, until it closes.

Whose methods are the requests is for the process to say: a worker for one backend, or one for a
whole network. An exception becomes an error reply of one line; a crash ends the process, which the
parent's end, `link.py`, sees.
"""

import contextlib
import gc
import json
import os
import resource
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from gemmbench import __version__
from gemmbench.errors import GemmbenchError

PROTOCOL_VERSION = 2  # 2: `time_slice`, and `layout` when opened
REASON_LENGTH = 500  # characters; a backend may raise with megabytes of text
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Served(Protocol):
    """Whose methods are the requests of an open connection."""

    def lost(self) -> str | None:
        """Why this process can do no more, after an error; None if it can."""


Opened = Callable[[Mapping[str, Any]], Served]


def serve(requests: Any, replies: Any, opened: Opened) -> None:
    """Answer requests until the pipe closes. Exceptions become error replies; crashes do not.

    `opened` makes what answers them, from what the connection is opened with.
    """
    worker: Served | None = None
    _send(replies, {"protocol": PROTOCOL_VERSION, "gemmbench": __version__, "pid": os.getpid()})
    for line in requests:
        request = json.loads(line)
        method, params = request["method"], request["params"]
        try:
            if method == "open":
                worker, result = opened(params), {}
            else:
                result = getattr(worker, method)(**params)
            _send(replies, {"result": result})
        except Exception as error:  # a backend may raise anything: it is reported, not handled
            _send(replies, {"error": f"{_one_line(error)}{_place(error)}", "lost": _lost(worker)})


def main(argv: Sequence[str], opened: Opened) -> None:
    """Serve on the descriptors named in `argv`, dying with the parent, within a memory limit."""
    read_fd, write_fd, memory_bytes = (int(word) for word in argv)
    _die_with_parent()
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.disable()
    with os.fdopen(read_fd, "r") as requests, os.fdopen(write_fd, "w") as replies:
        serve(requests, replies, opened)


def printable(text: str) -> str:
    """`text` as one line of at most `REASON_LENGTH` characters that every encoding can carry."""
    line = " ".join(text[: 4 * REASON_LENGTH].encode("utf-8", "replace").decode().split())
    return line if len(line) <= REASON_LENGTH else line[: REASON_LENGTH - 1] + "…"


def _lost(worker: Served | None) -> bool:
    """Whether an error left the process beyond use; so it is too if even that cannot be asked."""
    try:
        return worker is not None and worker.lost() is not None
    except Exception:
        return True


def _one_line(error: Exception) -> str:
    text = printable(str(error))
    if isinstance(error, GemmbenchError):
        return text
    if isinstance(error, MemoryError):
        return f"out of memory: {text or 'an allocation was refused'}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(error: Exception) -> str:
    """' (kernel.py:12 in run)': where a backend raised; '' for what gemmbench itself refuses."""
    if isinstance(error, GemmbenchError):
        return ""
    if isinstance(error, SyntaxError) and error.filename:
        return ""  # its own text names the file and the line
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f" ({Path(frame.filename).name}:{frame.lineno} in {frame.name})"


def _send(replies: Any, message: Mapping[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies, stopped or not (Linux only)."""
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
