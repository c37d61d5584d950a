"""What all commands share: targets that cannot be written, and options that are repeated."""

import click
import pytest
from click.testing import CliRunner

from gemmbench.cli import cli
from gemmbench.cli.options import options_given
from gemmbench.cli.racing import busy_machine
from gemmbench.errors import GemmbenchError


@pytest.mark.parametrize("value", ["nan", "inf", "0", "-1", "abc"])
def test_an_error_limit_is_a_positive_finite_number(value):
    done = CliRunner().invoke(cli, ["run", "warden", "--max-error", value, "--dry-run"])
    assert done.exit_code == 2, done.output


def test_json_that_cannot_be_written_is_refused_before_anything_is_measured():
    done = CliRunner().invoke(cli, ["run", "warden", "--json", "/proc/no.json"])
    assert isinstance(done.exception, GemmbenchError)  # one line and exit code 2
    assert "--json: cannot write '/proc/no.json'" in str(done.exception)


def test_asking_whether_json_can_be_written_leaves_no_file(tmp_path):
    target = tmp_path / "out.json"
    arguments = ["run", "warden", "--json", str(target), "--backend", "none such", "--dry-run"]
    assert CliRunner().invoke(cli, arguments).exit_code != 0
    assert not target.exists()


def test_options_are_repeated_as_they_were_given():
    @click.command()
    @click.option("-b", "--backend", multiple=True)
    @click.option("--threads", default=2)
    @click.option("--only")
    @click.option("--quiet", is_flag=True)
    def command(**_given):
        click.echo(options_given("only"))

    given = ["-b", "./my k.py:K", "--backend", "blas", "--only", "x", "--quiet"]
    assert CliRunner().invoke(command, given).output == " --backend './my k.py:K' --backend blas\n"
    assert options_given() == ""


@pytest.mark.parametrize(("share", "told"), [("40.00", True), ("0.00", False)])
def test_a_run_says_that_programs_waited_for_processors_but_not_that_one_has_ended(
    tmp_path, share, told
):
    (tmp_path / "proc/pressure").mkdir(parents=True)
    (tmp_path / "proc/loadavg").write_text("9.00 5.00 2.00 1/99 4242\n")
    (tmp_path / "proc/pressure/cpu").write_text(f"some avg10=0.00 avg60={share} total=1\n")
    text = busy_machine(tmp_path)
    assert ("The machine was busy when this began" in text) is told
    assert "runnable" not in text
