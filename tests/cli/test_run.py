"""`gemmbench run` end to end: real processes, tiny layers, planted backends that misbehave."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
SUITE = """
suite: tiny
description: Two small layers
source: made up for the tests
defaults: {dtype: float32, batch: 3}
layers:
  - {name: fc, linear: {in: 40, out: 24}}
  - {name: square, gemm: 16x32x16}
"""
LONG_K = """
suite: long
description: A reduction as long as AlexNet's fc6
source: made up for the tests
layers:
  - {name: fc6, linear: {in: 9216, out: 64}, batch: 10, dtype: float32}
"""


CONVOLUTIONS = """
suite: convolutions
description: Several images, and one
source: made up for the tests
defaults: {dtype: float32}
layers:
  - {name: several, conv2d: {in: [3, 12, 12], out: 8, kernel: 3, stride: 2}, batch: 3}
  - {name: one, conv2d: {in: [3, 12, 12], out: 8, kernel: 3}, batch: 1}
"""


HUGE = """
suite: huge
description: More than fits
source: made up for the tests
layers:
  - {name: g, gemm: 8000x8000x8000, dtype: float32}
"""


def planted(name: str) -> str:
    return f"{TESTS / 'planted.py'}:{name}"


def gemmbench(
    folder: Path, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from gemmbench.cli import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **(env or {})},
        capture_output=True,
        text=True,
        timeout=200,
    )


def run_json(folder: Path, *arguments: str, suite: str = SUITE) -> tuple[int, dict[str, Any]]:
    (folder / "tiny.yaml").write_text(suite)
    quick = ("--budget", "1", "--processes", "1", "--threads", "1", "--json", "-")
    done = gemmbench(folder, "run", "tiny.yaml", *quick, *arguments)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def states(data: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {
        (trial["layer"], trial["backend"].rpartition(":")[2]): trial["state"]
        for trial in data["trials"]
    }


def test_a_run_completes_prints_a_table_and_keeps_every_sample(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    arguments = ("--backend", "blas", "--backend", planted("Honest"), "--budget", "60")
    done = gemmbench(tmp_path, "run", "tiny.yaml", *arguments)
    assert done.returncode == 0, done.stderr
    progress = [line.split(",")[0] for line in done.stderr.splitlines()]
    assert progress[0] == "gemmbench: tiny fc (1/2)"  # a quick second one may be left out
    assert set(progress[1:]) <= {"gemmbench: tiny square (2/2)"}
    assert "square" in done.stdout
    assert "% of peak" in done.stdout
    with sqlite3.connect(tmp_path / "results" / "gemmbench.db") as db:
        assert db.execute("select count(*) from trial where state = 'COMPLETE'").fetchone() == (4,)
        per_trial = db.execute("select count(*) from sample group by trial_id").fetchall()
        assert len(per_trial) == 4
        assert min(count for (count,) in per_trial) >= 1
        assert db.execute("select count(*) from best").fetchone() == (2,)
        assert db.execute("select count(distinct process) from sample").fetchone()[0] >= 3


def test_format_json_prints_what_json_to_stdout_prints(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    quick = ("--budget", "1", "--processes", "1", "--threads", "1", "--backend", "blas")
    done = gemmbench(tmp_path, "run", "tiny.yaml", *quick, "--format", "json", "--json", "a.json")
    assert json.loads(done.stdout) == json.loads((tmp_path / "a.json").read_text())
    done = gemmbench(tmp_path, "run", "tiny.yaml", *quick, "--format", "markdown")
    assert "| layer" in done.stdout


def test_json_has_the_shape_that_other_programs_rely_on(tmp_path: Path) -> None:
    code, data = run_json(tmp_path, "--backend", "blas")
    assert code == 0
    assert set(data) == {"schema", "run", "machine", "protocol", "trials", "verdicts"}
    trial = data["trials"][0]
    assert set(trial) == {
        "suite", "layer", "problem", "backend", "library", "algorithm", "weights", "config",
        "state", "reason", "max_error", "error_bound", "relative_error", "rms_error",
        "error_limit", "seconds", "gflops", "fraction_of_peak", "roofline", "stages",
        "workspace_bytes", "call_bytes", "cold_ratio", "threads", "tuned", "speed", "result",
    }  # fmt: skip
    assert set(trial["seconds"]) == {"median", "low", "high", "min", "samples", "processes"}
    assert trial["max_error"] <= trial["error_bound"]
    assert 0 < trial["rms_error"] <= trial["relative_error"] < 1e-5
    assert "OpenBLAS" in trial["library"] or "BLAS" in trial["library"]


WRONG = (
    "DropsLastTerm", "Remembers", "WritesOutside", "ChangesInput", "SkipsUnlessCleared",
    "Fingerprints", "WorksInOutput", "HalfPrecision", "AnswersFloat64",
)  # fmt: skip
FAILED = {
    "AbortsInRun": "SIGABRT",
    "AbortsInPrepare": "SIGABRT",
    "Hangs": "timed out after 2 s",
    "HangsAtPrepare": "timed out after 2 s",
    "AllocatesTerabyte": "out of memory",
    "Raises": "Error",
    "LeavesChild": "SIGABRT",
}


@pytest.fixture(scope="module")
def defective(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any]]:
    """One run of every planted defect beside backends that are right."""
    specs = [planted(name) for name in (*WRONG, *FAILED, "Prints")]
    chosen = [argument for spec in (*specs, "blas") for argument in ("--backend", spec)]
    folder = tmp_path_factory.mktemp("defective")
    return run_json(folder, *chosen, "--timeout", "2", suite=LONG_K)


def planted_trial(defective: tuple[int, dict[str, Any]], name: str) -> dict[str, Any]:
    _, data = defective
    (trial,) = (t for t in data["trials"] if t["backend"].endswith(f":{name}"))
    return dict(trial)


@pytest.mark.parametrize("name", WRONG)
def test_a_planted_wrong_backend_ends_wrong_without_a_time(
    defective: tuple[int, dict[str, Any]], name: str
) -> None:
    trial = planted_trial(defective, name)
    assert (trial["state"], trial["seconds"]) == ("WRONG", None)
    assert trial["reason"]


@pytest.mark.parametrize("name", FAILED)
def test_a_planted_crash_ends_failed_with_its_reason(
    defective: tuple[int, dict[str, Any]], name: str
) -> None:
    trial = planted_trial(defective, name)
    assert trial["state"] == "FAILED"
    assert FAILED[name] in trial["reason"]


def test_the_rest_of_the_run_completes_beside_every_defect(
    defective: tuple[int, dict[str, Any]],
) -> None:
    code, data = defective
    complete = {t["backend"].rpartition(":")[2] for t in data["trials"] if t["state"] == "COMPLETE"}
    assert complete == {"blas", "Prints"}
    assert code == 5


def test_a_kernel_that_cannot_be_run_is_blamed_by_its_own_file(tmp_path: Path) -> None:
    code, data = run_json(tmp_path, "--backend", planted("ForgetsToRun"), "--only", "fc")
    (trial,) = data["trials"]
    assert (code, trial["state"]) == (6, "FAILED")
    told = "planted.py:ForgetsToRun: prepare() returned a SimpleNamespace without run."
    assert trial["reason"].startswith(told)


def test_a_crash_alone_is_exit_six(tmp_path: Path) -> None:
    code, _ = run_json(tmp_path, "--backend", planted("AbortsInRun"), "--only", "fc")
    assert code == 6


def test_the_other_contenders_of_a_lost_worker_complete(tmp_path: Path) -> None:
    code, data = run_json(tmp_path, "--backend", planted("AbortsInStage"), "--only", "fc")
    ended = {trial["algorithm"]: trial["state"] for trial in data["trials"]}
    assert ended == {"sound": "COMPLETE", "aborting": "FAILED"}
    assert code == 6


@pytest.mark.parametrize(("cache", "fill"), [("cold", "uniform"), ("hot", "zeros")])
def test_other_caches_and_fills_are_measured_and_noted(
    tmp_path: Path, cache: str, fill: str
) -> None:
    code, data = run_json(
        tmp_path, "--backend", planted("Honest"), "--cache", cache, "--fill", fill, "--only", "fc"
    )
    assert code == 0
    assert (data["protocol"]["cache"], data["protocol"]["fill"]) == (cache, fill)
    assert (data["protocol"]["cold_bytes"] > 0) is (cache == "cold")


@pytest.mark.parametrize("fill", ["uniform", "denormal"])
def test_prepared_weights_pass_with_any_fill(tmp_path: Path, fill: str) -> None:
    code, data = run_json(
        tmp_path, "--backend", "numba", "--weights", "both", "--tune", "never", "--fill", fill,
        "--only", "fc",
    )  # fmt: skip
    assert code == 0, data["trials"]
    assert {trial["weights"] for trial in data["trials"]} == {"plain", "prepared"}


def test_a_backend_that_aborts_at_import_ends_failed(tmp_path: Path) -> None:
    spec = f"{TESTS / 'planted_abort.py'}:Aborts"
    code, data = run_json(tmp_path, "--backend", spec, "--backend", "blas")
    assert states(data) == {
        ("fc", "Aborts"): "FAILED",
        ("square", "Aborts"): "FAILED",
        ("fc", "blas"): "COMPLETE",
        ("square", "blas"): "COMPLETE",
    }
    assert code == 6


def test_a_slow_backend_completes_with_what_it_has(tmp_path: Path) -> None:
    code, data = run_json(tmp_path, "--backend", planted("Slow"), "--backend", planted("Honest"))
    assert code == 0
    assert set(states(data).values()) == {"COMPLETE"}


def test_tuned_configs_are_stored_and_reused(tmp_path: Path) -> None:
    arguments = ("--backend", planted("SearchesSoundTiles"), "--only", "square", "--budget", "8")
    _, first = run_json(tmp_path, *arguments)
    _, second = run_json(tmp_path, *arguments)
    tuned = [[t["config"] for t in data["trials"] if t["tuned"]] for data in (first, second)]
    assert tuned[0] == tuned[1] != []
    with sqlite3.connect(tmp_path / "results" / "gemmbench.db") as db:
        searched = "select count(*) from trial where purpose = 'tune' and run_id = ?"
        assert db.execute(searched, (1,)).fetchone()[0] > 1
        assert db.execute(searched, (2,)).fetchone() == (0,)


@pytest.mark.parametrize(
    "name", ["SearchesWrongTile", "SearchesAbortingTile", "SearchesHangingTile"]
)
def test_a_bad_config_met_by_the_search_is_data(tmp_path: Path, name: str) -> None:
    code, data = run_json(
        tmp_path, "--backend", planted(name), "--only", "square", "--timeout", "2",
        "--budget", "20", "--tune", "force",
    )  # fmt: skip
    assert code == 0
    assert set(states(data).values()) == {"COMPLETE"}
    with sqlite3.connect(tmp_path / "results" / "gemmbench.db") as db:
        bad = "select count(*) from trial where purpose = 'tune' and state in ('WRONG', 'FAILED')"
        assert db.execute(bad).fetchone()[0] >= 1


BAD_INPUT = [
    (["nowhere.yaml"], "nowhere.yaml: no such file."),
    (["alexnt"], "Did you mean 'alexnet'?"),
    (["tiny.yaml", "--backend", "blass"], "backend 'blass' is unknown. Did you mean 'blas'?"),
    (["tiny.yaml", "--backend", "cupy"], "backend 'cupy' is unavailable:"),
    (["tiny.yaml", "--dtype", "float23"], "float23"),
    (["tiny.yaml", "--algorithm", "gem"], "no backend offers 'gem' here. Did you mean 'gemm'?"),
    (["tiny.yaml", "--algorithm", "qr"], "no backend offers 'qr' here. Choose from gemm"),
    (["tiny.yaml", "--strategy", "bayes"], "--strategy: 'bayes' is unknown."),
    (["tiny.yaml", "--memory", "lots"], "--memory: got 'lots'"),
    (["tiny.yaml", "--memory", "1K"], "--memory: got 1K, a worker with its libraries needs"),
    (["huge.yaml", "--memory", "600M"], "huge.yaml: layer 'g': needs"),
    (["tiny.yaml", "tiny.yaml"], "suite 'tiny': was given twice. Name it once."),
    (["tiny.yaml", "again.yaml"], "suite 'tiny' is also the name of tiny.yaml"),
    (["tiny.yaml", "--threads", "5000"], "--threads: got 5000, this machine has"),
    (["tiny.yaml", "--budget", "nan"], "--budget: got 'nan', expected a finite number"),
    (["tiny.yaml", "--timeout", "inf"], "--timeout: got 'inf', expected a finite number"),
    (["tiny.yaml", "--json", "."], "--json: cannot write '.'"),
    (["tiny.yaml", "--json", "tiny.yaml"], "'tiny.yaml' exists and holds something else"),
    (["tiny.yaml", "--backend", "./broken.py:K"], "cannot be used: SyntaxError"),
    (["tiny.yaml", "--backend", "no.such:K"], "cannot be used: ModuleNotFoundError"),
    (["tiny.yaml", "--only", "conv*"], "no layer matches 'conv*'"),
    (["tiny.yaml", "--threads", "0"], "--threads"),
    (["tiny.yaml", "--tune", "sometimes"], "--tune"),
    (["tiny.yaml", "--db", "text.db"], "text.db"),
    (["tiny.yaml", "--db", "nosuch://x"], "nosuch"),
    (["tiny.yaml", "--json", "no/such/folder.json"], "no/such/folder.json"),
    ([], "SUITE"),
]


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT, ids=lambda value: str(value)[:40])
def test_bad_input_is_one_line_exit_two_and_nothing_written(
    tmp_path: Path, arguments: list[str], message: str, dry: tuple[str, ...]
) -> None:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    (tmp_path / "text.db").write_text("this is no database")
    (tmp_path / "again.yaml").write_text(SUITE)
    (tmp_path / "huge.yaml").write_text(HUGE)
    (tmp_path / "broken.py").write_text("def K(:\n")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    done = gemmbench(tmp_path, "run", *arguments, *dry)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("gemmbench: error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    away = f"{TESTS / 'planted_abort.py'}:Aborts"
    chosen = ("--backend", "blas", "--backend", away)
    done = gemmbench(tmp_path, "run", "alexnet", "--dry-run", *chosen)
    assert done.returncode == 0
    assert "fc8" in done.stdout
    assert "backends: blas\n" in done.stdout
    assert f"not usable here: {away}: killed by SIGABRT" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_both_lowerings_of_a_batch_race_and_the_gain_is_printed(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(CONVOLUTIONS)
    backends = ("--backend", "blas", "--backend", "numba", "--algorithm", "im2col")
    quick = ("--budget", "20", "--processes", "1", "--threads", "1", "--json", "run.json")
    asked = ("--batch-lowering", "both", "--tune", "never")
    done = gemmbench(tmp_path, "run", "tiny.yaml", *backends, *quick, *asked)
    assert done.returncode == 0, done.stderr
    for backend in ("blas", "numba"):
        assert f"several: {backend} im2col: one GEMM for all 3 images is " in done.stdout
    assert "one: blas im2col: one GEMM" not in done.stdout
    trials = json.loads((tmp_path / "run.json").read_text())["trials"]
    ways = [(t["layer"], t["backend"], t["config"].get("lowering")) for t in trials]
    several = [(name, way) for name in ("blas", "numba") for way in (None, "whole")]
    assert sorted(ways, key=str) == sorted(
        [("one", "blas", None), ("one", "numba", None), *(("several", *each) for each in several)],
        key=str,
    )
    whole = next(t for t in trials if t["config"].get("lowering") == "whole")
    assert list(whole["stages"]) == ["im2col", "multiply", "output transform"]


def test_only_the_lowering_that_was_asked_for_takes_part(tmp_path: Path) -> None:
    arguments = ("--backend", "blas", "--batch-lowering", "whole")
    _, data = run_json(tmp_path, *arguments, suite=CONVOLUTIONS)
    ways = [(trial["layer"], trial["config"].get("lowering")) for trial in data["trials"]]
    assert ways == [("several", "whole"), ("one", None)]
