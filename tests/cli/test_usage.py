"""What click refuses is told as every other error: where, what was given, what is allowed."""

import click
import pytest

from gemmbench.cli import cli
from gemmbench.cli.usage import usage_line

RUN, HELP = ("run", "warden"), " Try 'gemmbench run --help'."
LINES = [
    ((*RUN, "--cache", "warm"), f"--cache: got 'warm', expected hot or cold.{HELP}"),
    (
        (*RUN, "--dtype", "float16"),
        f"--dtype: got 'float16', expected float32 or float64.{HELP}",
    ),
    (
        (*RUN, "--tune", "atuo"),
        f"--tune: got 'atuo', expected auto, never or force. Did you mean 'auto'?{HELP}",
    ),
    ((*RUN, "--threads", "0"), f"--threads: got '0', expected an integer >= 1.{HELP}"),
    ((*RUN, "--threads", "two"), f"--threads: got 'two', expected an integer >= 1.{HELP}"),
    (
        (*RUN, "--seed", "-1"),
        f"--seed: got '-1', expected an integer >= 0 and <= 2147483647.{HELP}",
    ),
    ((*RUN, "--max-error", "0"), f"--max-error: got '0', expected a number > 0.{HELP}"),
    ((*RUN, "--budget", "soon"), f"--budget: got 'soon', expected a number > 0.{HELP}"),
    (
        (*RUN, "--budget", "nan"),
        f"--budget: got 'nan', expected a finite number of seconds.{HELP}",
    ),
    ((*RUN, "--threads"), "--threads: got no value, expected one."),
    ((*RUN, "--quiet=3"), "--quiet: got a value, expected none."),
    (
        (*RUN, "--thread", "2"),
        "gemmbench run: got '--thread', which is no option of it. Did you mean '--threads'?" + HELP,
    ),
    (
        ("run",),
        "gemmbench run: got no SUITE. Try 'gemmbench run --help', or: gemmbench run alexnet "
        "--only 'conv*' --backend blas --backend numba",
    ),
    (
        ("best", "warden", "alexnet"),
        "gemmbench best: got 'alexnet' more than it takes. Try 'gemmbench best --help'.",
    ),
    (
        ("runn",),
        "gemmbench: got 'runn', which is no command of it. Did you mean 'run'? "
        "Try 'gemmbench --help'.",
    ),
    (
        ("suite", "lst"),
        "gemmbench suite: got 'lst', which is no command of it. Did you mean 'list'? "
        "Try 'gemmbench suite --help'.",
    ),
    (
        ("doctor", "--root", "/nowhere"),
        "--root: directory '/nowhere' does not exist. Try 'gemmbench doctor --help'.",
    ),
    (
        ("check", "warden", "--budget", "-0.50"),
        "--budget: got '-0.50', expected a number > 0. Try 'gemmbench check --help'.",
    ),
    (
        ("check", "warden", "--min-effect", "x"),
        "--min-effect: got 'x', expected a share below 100 %, such as 5% or 0.05. "
        "Try 'gemmbench check --help'.",
    ),
    (
        ("tune", "warden", "--arch", "sm_90"),
        "--arch: got 'sm_90', which only --dry-run reads, for the backends named. "
        "Add: --dry-run --backend cupy",
    ),
]


@pytest.mark.parametrize(("arguments", "line"), LINES, ids=lambda value: " ".join(value)[:40])
def test_a_refusal_says_where_what_was_given_and_what_is_allowed(
    arguments: tuple[str, ...], line: str
) -> None:
    with pytest.raises(click.UsageError) as refused:
        cli.main(list(arguments), prog_name="gemmbench", standalone_mode=False)
    assert usage_line(refused.value) == line


@pytest.mark.parametrize("words", [("--budget", "0"), ("--time-budget", "0"), ("--time-budget=0",)])
def test_an_option_of_two_names_is_told_by_the_one_that_was_typed(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["gemmbench", "check", "warden", *words])
    with pytest.raises(click.UsageError) as refused:
        cli.main(["check", "warden", *words], prog_name="gemmbench", standalone_mode=False)
    assert usage_line(refused.value).startswith(f"{words[0].partition('=')[0]}: got '0', expected")


def test_a_sentence_that_is_not_known_is_kept() -> None:
    assert usage_line(click.UsageError("Something new.")) == "gemmbench: Something new."
    assert usage_line(click.BadParameter("odd.", param_hint="--x")) == "--x: odd."
