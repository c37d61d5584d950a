"""The progress line: a line a layer in a log, counting down on a terminal."""

import io

import pytest
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


def log(capsys: pytest.CaptureFixture[str], layers: int, every: float, *, quiet: bool) -> list[str]:
    """The lines of a log of as many layers that take `every` seconds each; stdout stays empty."""
    now = 0.0
    with ProgressLine(60.0, quiet=quiet, clock=lambda: now) as line:
        for position in range(layers):
            line.layer("alexnet", f"conv{position + 1}", position, layers)
            line.step("asking blas")
            now += every
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_a_log_has_a_line_a_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert log(capsys, 2, 18.0, quiet=False) == [
        "gemmbench: alexnet conv1 (1/2), at most 60 s left",
        "gemmbench: alexnet conv2 (2/2), at most 42 s left",
    ]


def test_a_log_says_when_it_takes_longer_than_planned(capsys: pytest.CaptureFixture[str]) -> None:
    assert log(capsys, 5, 18.0, quiet=False)[-1] == (
        "gemmbench: alexnet conv5 (5/5), which takes longer than planned"
    )


def test_layers_that_take_no_time_do_not_fill_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    lines = log(capsys, 9, 0.25, quiet=False)
    assert [line.split()[2] for line in lines] == ["conv1", "conv5", "conv9"]


def test_a_suite_of_which_no_layer_has_begun_is_not_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ProgressLine(60.0, quiet=False) as line:
        line.layer("alexnet", "", 0, 1)
    assert capsys.readouterr().err == ""


def test_quiet_logs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert log(capsys, 2, 18.0, quiet=True) == []
