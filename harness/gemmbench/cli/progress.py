"""How far a run has come, on stderr: a live line on a terminal, a line a layer in a log."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text


class TimeLeft(ProgressColumn):
    """What is left of the budget: an upper bound, since layers end early when they are decided."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def render(self, task: Task) -> Text:
        """Such as 'at most 42 s left'."""
        left = max(0.0, self._seconds - (task.elapsed or 0.0))
        return Text(f"at most {left:.0f} s left")


LOGGED_EVERY = 1.0  # seconds at least between two lines of a log; a pass prepares faster


class ProgressLine:
    """Follows a run on stderr. Use as a context manager; silent if `quiet`."""

    def __init__(
        self, seconds: float, *, quiet: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._shown = sys.stderr.isatty() and not quiet
        self._logged = not sys.stderr.isatty() and not quiet
        self._seconds, self._clock, self._began = seconds, clock, clock()
        self._last_logged = -LOGGED_EVERY  # since it began
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeLeft(seconds),
            console=Console(stderr=True),
            transient=True,
            disable=not self._shown,
        )
        self._line = self._progress.add_task("starting", total=1.0)
        self._layer = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def layer(self, suite: str, name: str, position: int, total: int) -> None:
        """Layer `position` of `total` begins, counted from 0."""
        self._layer = " ".join(filter(None, [suite, name, f"({position + 1}/{total})"]))
        self._progress.update(self._line, completed=position / total, description=self._layer)
        if name:  # without, none has begun: what is asked may yet be refused in one line
            self._log()

    def step(self, text: str) -> None:
        """What is being done now."""
        self._progress.update(self._line, description=f"{self._layer}: {text}")

    def _log(self) -> None:
        """A line of a log, unless there was one a moment ago."""
        elapsed = self._clock() - self._began
        if self._logged and elapsed - self._last_logged >= LOGGED_EVERY:
            left = self._seconds - elapsed
            text = f"at most {left:.0f} s left" if left > 0 else "which takes longer than planned"
            click.echo(f"gemmbench: {self._layer}, {text}", err=True)
            self._last_logged = elapsed
