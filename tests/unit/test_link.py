"""The parent's end of a worker, against real processes."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gemmbench import control
from gemmbench.backend import Location
from gemmbench.errors import GemmbenchError
from gemmbench.link import Link, RequestError, WorkerLostError, case_data, location_data
from gemmbench.machine import detect_machine, machine_to_data
from gemmbench.problem import Gemm
from gemmbench.reference import Cases
from gemmbench.trial import Environment

PLANTED = str(Path(__file__).parents[1] / "planted.py")
PROBLEM = Gemm(6, 7, 8)


def connect(name: str, timeout: float = 30.0, memory_bytes: int = 0) -> Link:
    location = Location(PLANTED, name)
    return Link(location, PROBLEM, threads=1, timeout=timeout, memory_bytes=memory_bytes)


def describe(link: Link) -> dict[str, Any]:
    machine = machine_to_data(detect_machine())
    return link.ask(
        "describe", location=location_data(link.location), machine=machine, threads=1, offers=True
    )


def prepare(link: Link, cases: Cases) -> None:
    describe(link)
    config = {"algorithm": "gemm", "weights": "plain", "threads": 1}
    link.ask("prepare", slot=0, config=config, case=case_data(cases.uniform))


@pytest.fixture
def honest() -> Iterator[Link]:
    with connect("Honest") as link:
        yield link


def test_a_worker_says_which_file_it_imported(honest: Link) -> None:
    assert describe(honest)["file"] == PLANTED
    module = Location("gemmbench.control", "Control")
    with Link(module, PROBLEM, threads=1, timeout=30.0) as link:
        assert describe(link)["file"] == str(Path(control.__file__).resolve())


def process_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def ends(pid: int) -> bool:
    """Whether the process ends, waiting for it; True if it is gone already."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 30.0)[0])
    finally:
        os.close(descriptor)


def test_an_idle_worker_is_stopped(honest: Link) -> None:
    describe(honest)
    os.waitid(os.P_PID, honest.pid, os.WSTOPPED | os.WNOWAIT)
    assert process_state(honest.pid) == "T"


def test_a_stopped_worker_answers_again(honest: Link, tmp_path: Path) -> None:
    cases = Cases(PROBLEM, tmp_path)
    prepare(honest, cases)
    for _ in range(3):
        reply = honest.ask("time", slot=0, case=case_data(cases.uniform), loops=2, warmup=1)
        assert reply["seconds"] > 0


def test_the_worker_dies_with_its_parent() -> None:
    """A parent that is killed leaves no worker behind, stopped or not."""
    script = (
        "import os, signal\n"
        "from gemmbench.backend import Location\n"
        "from gemmbench.link import Link\n"
        "from gemmbench.problem import Gemm\n"
        f"link = Link(Location({PLANTED!r}, 'Honest'), Gemm(6, 7, 8), threads=1, timeout=30)\n"
        "link.ask('load', case={'label': '', 'operands': {}})\n"
        "print(link.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    parent = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    assert ends(int(parent.stdout))


def test_a_backend_that_raises_leaves_the_worker_alive(tmp_path: Path) -> None:
    cases = Cases(PROBLEM, tmp_path)
    with connect("Raises") as link:
        prepare(link, cases)
        with pytest.raises(RequestError, match=r"\w+"):
            link.ask("verify", slot=0, case=case_data(cases.uniform))
        link.ask("release", slot=0)


def test_a_crash_names_the_signal(tmp_path: Path) -> None:
    cases = Cases(PROBLEM, tmp_path)
    with connect("AbortsInRun") as link:
        prepare(link, cases)
        with pytest.raises(WorkerLostError, match="killed by SIGABRT"):
            link.ask("verify", slot=0, case=case_data(cases.uniform))
        with pytest.raises(WorkerLostError):  # and it stays lost
            link.ask("release", slot=0)


def test_children_of_a_crashed_worker_are_killed_too(tmp_path: Path) -> None:
    cases = Cases(PROBLEM, tmp_path)
    with connect("LeavesChild") as link:
        prepare(link, cases)
        with pytest.raises(WorkerLostError, match=r"killed by SIGABRT: child \d+"):
            link.ask("verify", slot=0, case=case_data(cases.uniform))
        child = int(link.last_words().split()[1])
    assert ends(child)


def test_a_worker_that_closes_its_connection_is_lost_at_once(tmp_path: Path) -> None:
    cases = Cases(PROBLEM, tmp_path)
    with connect("ClosesPipes") as link:
        prepare(link, cases)
        with pytest.raises(WorkerLostError, match="closed its connection"):
            link.ask("verify", slot=0, case=case_data(cases.uniform))


def test_garbage_in_the_connection_is_no_reply(tmp_path: Path) -> None:
    with connect("WritesGarbage") as link, pytest.raises(WorkerLostError, match="something else"):
        prepare(link, Cases(PROBLEM, tmp_path))


def test_a_reason_is_one_short_line_that_says_where(tmp_path: Path) -> None:
    cases = Cases(PROBLEM, tmp_path)
    with connect("RaisesNovel") as link:
        prepare(link, cases)
        with pytest.raises(RequestError) as caught:
            link.ask("verify", slot=0, case=case_data(cases.uniform))
    text = str(caught.value)
    assert text.endswith("in multiply)")
    assert "planted.py:" in text
    assert len(text) < 700
    assert "\n" not in text
    text.encode()


def test_a_hang_is_cut_off(tmp_path: Path) -> None:
    cases = Cases(PROBLEM, tmp_path)
    with connect("Hangs") as link:
        prepare(link, cases)
        with pytest.raises(WorkerLostError, match=r"timed out after 0\.2 s"):
            link.ask("verify", timeout=0.2, slot=0, case=case_data(cases.uniform))


def test_memory_beyond_the_limit_is_refused_not_taken(tmp_path: Path) -> None:
    with (
        connect("AllocatesTerabyte", memory_bytes=2**32) as link,
        pytest.raises(RequestError, match="out of memory"),
    ):
        prepare(link, Cases(PROBLEM, tmp_path))


def test_prints_do_not_reach_the_protocol(tmp_path: Path) -> None:
    cases = Cases(PROBLEM, tmp_path)
    with connect("Prints") as link:
        prepare(link, cases)
        assert link.ask("verify", slot=0, case=case_data(cases.uniform))["wrong"] is None


def test_a_remembered_answer_is_wrong_once_the_inputs_change(tmp_path: Path) -> None:
    cases = Cases(PROBLEM, tmp_path)
    with connect("Remembers") as link:
        prepare(link, cases)
        assert link.ask("verify", slot=0, case=case_data(cases.uniform))["wrong"] is None
        link.ask("time", slot=0, case=case_data(cases.uniform), loops=20, warmup=1)
        assert link.ask("verify", slot=0, case=case_data(cases.changed))["wrong"]


def test_thread_variables_are_set_for_every_library(honest: Link) -> None:
    describe(honest)
    environ = Path(f"/proc/{honest.pid}/environ").read_bytes().decode().split("\0")
    assert {"OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1"} <= set(environ)


def test_an_interpreter_that_is_not_there_is_bad_input() -> None:
    environment = Environment(python="/no/such/python")
    with pytest.raises(GemmbenchError, match="cannot start a worker with '/no/such/python'"):
        Link(Location(PLANTED, "Honest"), PROBLEM, threads=1, timeout=1, environment=environment)


def test_closing_twice_does_nothing(honest: Link) -> None:
    honest.close()
    honest.close()
