"""The progress line: silent in a pipe, counting down on a terminal."""

import io

from rich.console import Console
from rich.progress import Progress, Task

from gemmbench.cli.progress import ProgressLine, TimeLeft


def task(elapsed: float) -> Task:
    line = Progress(console=Console(file=io.StringIO()))
    number = line.add_task("x", total=1.0)
    found = line.tasks[number]
    found.start_time, found.stop_time = 0.0, elapsed
    return found


def test_the_time_left_counts_down_to_zero() -> None:
    assert TimeLeft(60.0).render(task(18.0)).plain == "at most 42 s left"
    assert TimeLeft(60.0).render(task(75.0)).plain == "at most 0 s left"


def test_nothing_is_printed_where_stderr_is_no_terminal(capsys) -> None:  # type: ignore[no-untyped-def]
    with ProgressLine(60.0, quiet=False) as line:
        line.layer("alexnet", "conv1", 0, 8)
        line.step("asking blas")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
