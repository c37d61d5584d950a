import pytest
from click.testing import CliRunner

from gemmbench.cli.db import db
from gemmbench.machine import Machine
from gemmbench.trial import RaceProtocol
from gemmbench_results.store import open_store


def invoke(*arguments, **environment):
    return CliRunner(env={"GEMMBENCH_DB": None, **environment}).invoke(db, arguments)


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "results.db"
    with open_store(path) as store:
        machine = Machine("Example CPU", "zen4", (), 2, 1, 1, 1, 1, "Linux")
        store.begin("gemmbench run alexnet", machine, RaceProtocol(), 0)
    return path


def test_path_is_under_the_current_directory_by_default():
    assert invoke("path").output == "results/gemmbench.db\n"


def test_path_comes_from_the_option_before_the_environment():
    assert invoke("path", GEMMBENCH_DB="a.db").output == "a.db\n"
    assert invoke("path", "--db", "b.db", GEMMBENCH_DB="a.db").output == "b.db\n"


def test_path_hides_a_password():
    assert "secret" not in invoke("path", "--db", "sqlite://me:secret@/x.db").output


def test_info_of_nothing_makes_nothing(tmp_path):
    result = invoke("info", "--db", str(tmp_path / "results.db"))
    assert "nothing is stored yet" in result.output
    assert list(tmp_path.iterdir()) == []


def test_info_counts_what_is_stored(stored):
    lines = invoke("info", "--db", str(stored)).output.splitlines()
    assert lines[1:5] == ["revision  0007", "runs      1", "trials    0", "samples   0"]
    assert lines[5].endswith(" MB")


def test_upgrade_says_what_it_did(stored):
    result = invoke("upgrade", "--db", str(stored))
    assert result.output == f"{stored}: is at 0007 already\n"


@pytest.mark.parametrize("command", ["path", "info", "upgrade"])
def test_help_has_the_default_and_an_example(command):
    output = invoke(command, "--help").output
    assert "results/gemmbench.db" in output
    assert "GEMMBENCH_DB" in output
    assert "Example:" in output
