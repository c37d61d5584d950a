"""How far a run has come: a live line with the remaining time on a terminal, nothing in a pipe."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn


class ProgressLine:
    """Follows a run on stderr. Use as a context manager; silent unless stderr is a terminal."""

    def __init__(self, seconds: float, *, quiet: bool) -> None:
        self._seconds = seconds
        self._shown = sys.stderr.isatty() and not quiet
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
            transient=True,
            disable=not self._shown,
        )
        self._line = self._progress.add_task("starting", total=1.0, left="")
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

    def layer(self, suite: str, name: str, done: float) -> None:
        """A layer begins, with `done` of the budget spent."""
        self._layer = f"{suite} {name}"
        left = f"at most {(1 - done) * self._seconds:.0f} s left"
        self._progress.update(self._line, completed=done, description=self._layer, left=left)

    def step(self, text: str) -> None:
        """What is being done now."""
        self._progress.update(self._line, description=f"{self._layer}: {text}")
