"""`gemmbench doctor --gpu`: the report without a device, and on the stand-in."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gemmbench.backend import installed_backends
from gemmbench.cli import cli
from gemmbench.problem import Conv2d, Gemm
from gemmbench_backends.cupy_cuda import doctor
from gemmbench_backends.cupy_cuda.device import unavailable

from .stand_in import State, installed


def test_without_a_device_it_says_so_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = unavailable()
    if reason is None:
        pytest.skip("there is a GPU")
    pair = {name: installed_backends()[name] for name in ("fft", "cupy")}
    monkeypatch.setattr("gemmbench.backend.installed_backends", lambda: pair)
    result = CliRunner().invoke(cli, ["doctor", "--gpu"])
    assert result.stdout == f"No GPU was used: {reason}.\n"


def test_the_reports_are_written_as_json_and_not_printed_when_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemmbench.backend.installed_backends", lambda: {"a": "", "b": ""})
    monkeypatch.setattr("gemmbench.cli.gpu._report", lambda spec: ["fine"] if spec == "b" else [])
    target = tmp_path / "report.json"
    result = CliRunner().invoke(cli, ["doctor", "--gpu", "--quiet", "--json", str(target)])
    assert (result.exit_code, result.output) == (0, "")
    expected = {"schema": 1, "reports": [{"backend": "b", "report": "fine"}]}
    assert json.loads(target.read_text()) == expected
    assert CliRunner().invoke(cli, ["doctor", "--gpu"]).output == "fine\n"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much as a simulator can do in a second."""
    monkeypatch.setattr(doctor, "CHECKED", (Gemm(3, 4, 5), Conv2d(1, 2, 5, 5, 3, (3, 3))))
    monkeypatch.setattr(doctor, "TIMED", (Gemm(8, 8, 8),))
    monkeypatch.setattr(doctor, "ROUNDS", 1)
    monkeypatch.setattr(doctor, "CALLS", 1)
    monkeypatch.setattr(doctor, "menu", lambda product, arch: [doctor_tiles()])


def doctor_tiles() -> object:
    from .products import SMOKE

    return SMOKE[4]


@pytest.mark.cuda
def test_the_report_has_registers_answers_and_fractions_of_cublas(short: None) -> None:
    with installed(State()):
        report = doctor.diagnose()
    assert "`cupy 0.stand-in" in report
    assert "- name: Stand-in" in report
    assert "| 64×64×16 | " in report
    assert "differ" not in report
    assert report.count("| right |") == 3
    assert "% |" in report.split("| of cuBLAS |")[1]
    assert "failed" not in report


@pytest.mark.cuda
def test_what_fails_is_a_line_of_the_report(short: None) -> None:
    with installed(State(free_bytes=100)):
        report = doctor.diagnose()
    assert report.count("**failed**") == 4
    assert "Out of memory" in report


@pytest.mark.cuda
@pytest.mark.parametrize(
    "name", ["describe_device", "device_state", "compile_source", "current_architecture"]
)
def test_whatever_raises_the_report_is_there(
    short: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("torn\nin two")

    monkeypatch.setattr(doctor, name, broken)
    with installed(State()):
        report = doctor.diagnose()
    assert report.count("**failed**: torn in two") == 1
    assert report.count("| right |") == 3


@pytest.mark.cuda
def test_the_report_says_when_tf32_was_asked_for(
    short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value, words in (("0", "cuBLAS in float32"), ("1", "cuBLAS in TF32")):
        monkeypatch.setenv("CUPY_TF32", value)
        with installed(State()):
            assert words in doctor.diagnose().splitlines()[-1]
