"""What a user sees before anything runs: help, versions, one-line errors, and no slow imports."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gemmbench.algorithm import ALGORITHMS
from gemmbench.cli import COMMANDS, cli

ROOT = Path(__file__).parents[2]
SLOW = ("numpy", "numba", "scipy", "sqlalchemy", "alembic", "pydantic", "rich", "yaml", "tabulate")


def python(code: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from gemmbench.cli import cli\n"
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0\n"
        f"print([name for name in {SLOW!r} if name in sys.modules])\n"
    )
    assert python(code).stdout == "[]\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_help_and_in_the_readme(name: str) -> None:
    assert f"  {name} " in CliRunner().invoke(cli, ["--help"]).output
    assert f"gemmbench {name}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_has_help_and_the_command_an_example(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    commands = list(command.commands.values()) if isinstance(command, click.Group) else [command]
    for each in commands:
        assert each.help, each.name
        example = f"{each.help} {each.epilog}".partition("Example: ")[2]
        assert f"gemmbench {name}" in example, each.name
        options = [p for p in each.params if isinstance(p, click.Option)]
        assert all(option.help for option in options), each.name


@pytest.mark.parametrize("name", ["run", "tune", "compare", "network", "check", "aa"])
def test_the_help_of_algorithm_names_every_one(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    (option,) = [p for p in command.params if "--algorithm" in p.opts]
    assert isinstance(option, click.Option)
    assert f": {', '.join(ALGORITHMS)}. " in str(option.help)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runn"], "got 'runn', which is no command of it. Did you mean 'run'?"),
        (["run", "--bogus"], "'--bogus'"),
        (["suite", "validate"], "got no SUITE. Try"),
    ],
)
def test_misuse_is_one_line_and_exit_two(arguments: list[str], message: str) -> None:
    done = python(
        f"import sys; sys.argv[1:] = {arguments!r}\nfrom gemmbench.cli import main; main()"
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("gemmbench: error: ")
    assert done.stderr.count("\n") == 1
    assert message.lower() in done.stderr.lower()


def test_the_readme_kernel_runs_and_is_short(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text().partition("<!-- kernel example -->")[2]
    code = text.partition("```python\n")[2].partition("```")[0]
    assert len(code.splitlines()) < 25
    (tmp_path / "my_kernel.py").write_text(code)
    (tmp_path / "one.yaml").write_text(
        "suite: one\ndescription: d\nsource: s\n"
        "layers:\n  - {name: g, gemm: 8x9x10, dtype: float32}\n"
    )
    done = python(
        f"import os, sys; os.chdir({str(tmp_path)!r})\n"
        "sys.argv[1:] = ['run', 'one.yaml', '--backend', './my_kernel.py:MyGemm', "
        "'--budget', '1', '--processes', '1']\n"
        "from gemmbench.cli import main; main()"
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "./my_kernel.py:MyGemm" in done.stdout
