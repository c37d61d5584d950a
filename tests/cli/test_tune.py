"""`gemmbench tune`, `best` and `export` end to end, with planted kernels that misbehave."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gemmbench
from gemmbench.errors import GemmbenchError
from gemmbench.problem import Gemm

PLANTED = Path(__file__).parents[1] / "planted.py"
SUITE = """
suite: tiny
description: Two small products
source: made up for the tests
layers:
  - {name: one, gemm: 8x8x64, dtype: float32}
  - {name: two, gemm: 16x8x64, dtype: float32}
"""
TUNE = ("--processes", "1", "--threads", "1", "--seed", "1")


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "tiny.yaml").write_text(SUITE)
    return subprocess.run(
        [sys.executable, "-c", "from gemmbench.cli import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=200,
    )


def tune(folder: Path, planted: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    backend = ("--backend", f"{PLANTED}:{planted}")
    return call(folder, "tune", "tiny.yaml", *backend, *TUNE, *arguments)


def test_a_winner_under_an_error_limit_is_found_with_that_limit(tmp_path: Path) -> None:
    asked = ("--backend", f"{PLANTED}:Honest", "--only", "one", "--threads", "1", "--budget", "1")
    done = call(tmp_path, "run", "tiny.yaml", *asked, "--processes", "1", "--max-error", "1e-4")
    assert done.returncode == 0, done.stderr
    found = call(tmp_path, "best", "tiny.yaml", "--threads", "1", "--max-error", "1e-4")
    assert "one" in found.stdout, found.stderr
    other = call(tmp_path, "best", "tiny.yaml", "--threads", "1", "--max-error", "1e-5")
    assert other.returncode == 2
    assert "Run: gemmbench tune tiny.yaml --max-error 1e-05" in other.stderr
    problem, place = Gemm(8, 8, 64), tmp_path / "results/gemmbench.db"
    assert gemmbench.best(problem, threads=1, max_error=1e-4, db=place).run().shape == (8, 64)
    with pytest.raises(GemmbenchError, match=r"no race of .* is stored"):
        gemmbench.best(problem, threads=1, db=place)


def test_layers_without_a_race_are_named(tmp_path: Path) -> None:
    asked = ("--backend", f"{PLANTED}:Honest", "--only", "one", "--threads", "1", "--budget", "1")
    done = call(tmp_path, "run", "tiny.yaml", *asked, "--processes", "1")
    assert done.returncode == 0, done.stderr
    found = call(tmp_path, "best", "tiny.yaml", "--threads", "1")
    run = "gemmbench run tiny.yaml --threads 1 --only two"
    assert f"stored under these conditions of: two. Run: {run}" in found.stdout
    data = call(tmp_path, "best", "tiny.yaml", "--threads", "1", "--format", "json")
    assert json.loads(data.stdout)["without_race"] == ["two"]
    assert "of: two." in data.stderr


def test_a_search_ends_with_what_was_gained_and_best_prints_it(tmp_path: Path) -> None:
    done = tune(tmp_path, "SearchesSoundTiles", "--budget", "6", "--evaluations", "12")
    assert done.returncode == 0, done.stderr
    sentence = r"one: \S+ gemm: .*( beats | tie |undecided|is the best that was found)"
    assert re.search(sentence, done.stdout), done.stdout
    with closing(sqlite3.connect(tmp_path / "results/gemmbench.db")) as db:
        ((software,),) = db.execute("SELECT software FROM run").fetchall()
    assert json.loads(software)
    table = call(tmp_path, "best", "tiny.yaml", "--threads", "1")
    assert table.returncode == 0, table.stderr
    assert [line.split()[0] for line in table.stdout.splitlines()[2:]] == ["one", "two"]
    data = json.loads(
        call(tmp_path, "best", "tiny.yaml", "--threads", "1", "--format", "json").stdout
    )
    assert [winner["layer"] for winner in data["winners"]] == ["one", "two"]
    assert set(data["winners"][0]["config"]) == {"tile", "unroll"}
    assert not any(winner["stale"] for winner in data["winners"])
    header = call(tmp_path, "best", "tiny.yaml", "--threads", "1", "--format", "c-header").stdout
    assert re.search(r"^#define GEMMBENCH_ONE_TILE \d+$", header, re.MULTILINE)
    yaml = call(tmp_path, "best", "tiny.yaml", "--threads", "1", "--format", "yaml").stdout
    assert "- layer: one" in yaml
    call(tmp_path, "run", "tiny.yaml", "--backend", f"{PLANTED}:Honest", "--threads", "1",
         "--budget", "1")  # fmt: skip
    shown = call(tmp_path, "best", "tiny.yaml", "--threads", "1").stdout
    assert re.search("Not raced beside these winners: .*planted.py:", shown), shown
    own = ("--backend", f"{PLANTED}:SearchesSoundTiles")
    again = call(tmp_path, "best", "tiny.yaml", "--threads", "1", "--format", "json", *own)
    assert json.loads(again.stdout) == data, "a newer run of another backend hides nothing"
    (tmp_path / "results/gemmbench.db").rename(tmp_path / "results/both.db")
    done = tune(tmp_path, "SearchesSoundTiles", "--only", "one", "--budget", "3")
    kernel = gemmbench.best(Gemm(8, 8, 64), threads=1, db=tmp_path / "results/gemmbench.db")
    rng = np.random.default_rng(0)
    a = rng.standard_normal((8, 8)).astype(np.float32)
    b = rng.standard_normal((8, 64)).astype(np.float32)
    np.testing.assert_allclose(kernel(a, b), a @ b, rtol=1e-5, atol=1e-5)
    with pytest.raises(GemmbenchError, match=r"best: a: got float64 \(8, 8\), expected float32"):
        kernel(a.astype(np.float64), b)
    with pytest.raises(GemmbenchError, match="got 1 arrays, expected a, b"):
        kernel(a)


def test_a_winner_whose_kernel_changed_is_called_stale(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel.py"
    kernel.write_text(PLANTED.read_text())
    backend = ("--backend", f"{kernel}:SearchesSoundTiles")
    arguments = ("--only", "one", "--budget", "4", "--evaluations", "6")
    done = call(tmp_path, "tune", "tiny.yaml", *backend, *TUNE, *arguments)
    assert done.returncode == 0, done.stderr
    place, problem = tmp_path / "results/gemmbench.db", Gemm(8, 8, 64)
    gemmbench.best(problem, threads=1, db=place)
    kernel.write_text(f"{PLANTED.read_text()}\n# changed\n")
    with pytest.raises(GemmbenchError, match="won run 1, but its kernel or library changed since"):
        gemmbench.best(problem, threads=1, db=place)
    assert gemmbench.best(problem, threads=1, db=place, allow_stale=True).run().shape == (8, 64)
    assert ", stale" in call(tmp_path, "best", "tiny.yaml", "--threads", "1").stdout


def test_a_second_search_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    arguments = ("--only", "one", "--budget", "4", "--evaluations", "6")
    for _ in range(2):
        done = tune(tmp_path, "SearchesSoundTiles", *arguments)
        assert done.returncode == 0, done.stderr
    import sqlite3

    rows = sqlite3.connect(tmp_path / "results/gemmbench.db").execute(
        "SELECT run_id, config_text FROM trial WHERE purpose = 'tune'"
    )
    runs: dict[int, list[str]] = {}
    for run, config in rows:
        runs.setdefault(run, []).append(config)
    first, second = runs.values()
    default = '{"tile":8,"unroll":1}'
    assert default in first
    assert set(first) & set(second) == {default}, "only the default is measured again"


@pytest.mark.parametrize(
    ("planted", "state"),
    [
        ("SearchesWrongTile", "WRONG"),
        ("SearchesAbortingTile", "FAILED"),
        ("SearchesHangingTile", "FAILED"),
        ("SearchesSlowTile", "COMPLETE"),
    ],
)
def test_a_bad_config_neither_wins_nor_ends_the_search(
    tmp_path: Path, planted: str, state: str
) -> None:
    done = tune(
        tmp_path, planted, "--only", "one", "--budget", "8", "--timeout", "2",
        "--strategy", "exhaustive", "--json", "-",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    raced = json.loads(done.stdout)["trials"]
    assert {trial["state"] for trial in raced} == {"COMPLETE"}
    assert all(trial["config"]["tile"] <= 32 for trial in raced)
    import sqlite3

    rows = sqlite3.connect(tmp_path / "results/gemmbench.db").execute(
        "SELECT config_text, state FROM trial WHERE purpose = 'tune'"
    )
    states = dict(rows.fetchall())
    bad = {text: found for text, found in states.items() if json.loads(text)["tile"] > 32}
    assert set(bad.values()) == {state}
    good = [found for text, found in states.items() if text not in bad]
    assert set(good) == {"COMPLETE"}
    assert len(good) >= 10


def test_a_portfolio_serves_all_layers_with_few_configs(tmp_path: Path) -> None:
    done = tune(
        tmp_path, "SearchesSoundTiles", "--budget", "4", "--evaluations", "6", "--portfolio"
    )
    assert done.returncode == 0, done.stderr
    done = call(tmp_path, "best", "tiny.yaml", "--threads", "1", "--portfolio", "1")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert re.search(r"1 of its configs serve 2 layers at \d+\.\d\d times their own best", first)
    assert re.search(r"tile=\d+ unroll=\d+: one \(\d.\d\d\), two \(\d.\d\d\)", second)


@pytest.mark.parametrize("format_", ["json", "yaml", "c-header"])
def test_a_portfolio_in_a_format_it_does_not_have_is_a_usage_error(
    tmp_path: Path, format_: str
) -> None:
    done = call(tmp_path, "best", "tiny.yaml", "--portfolio", "1", "--format", format_)
    assert done.returncode == 2
    assert "--portfolio" in done.stderr
    assert f"got {format_}" in done.stderr


def test_a_portfolio_is_of_the_newest_kernel_whichever_layer_it_ran_on() -> None:
    from types import SimpleNamespace

    from gemmbench.cli.best import portfolio_text
    from gemmbench.trial import Contender, Evaluation, Trial, TrialState
    from gemmbench_results.report.winners import Winner

    problem, kernel = Gemm(8, 8, 8), Contender("numba", "gemm", config={"mr": 4})
    winners = [
        Winner(name, Trial("s", name, problem, kernel, TrialState.COMPLETE, source_hash=source),
               "winner", run)
        for name, source, run in (("one", "new", 2), ("two", "old", 1))
    ]  # fmt: skip
    found = [
        Evaluation(problem, {"mr": mr}, 1.0, source, "m", here=True)
        for source, mr in (("old", 4), ("new", 6))
    ]
    store: Any = SimpleNamespace(evaluations=lambda *given: found)
    asked: Any = SimpleNamespace(machine=None, protocol=None)
    layers: Any = [SimpleNamespace(name="one", problem=problem)]
    assert "mr=6: one" in portfolio_text(store, asked, layers, winners, 1)


def test_a_space_file_replaces_the_backends_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "axes:\n  tile: {pow2: [4, 8, 16, 32]}\n  unroll: [1, 2]\n"
        "constraints:\n  - {name: small, rule: tile * unroll <= 16}\n"
    )
    arguments = ("--only", "one", "--space", "mine.yaml")
    plan = tune(tmp_path, "SearchesSoundTiles", *arguments, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "5 of 8 combinations are valid" in plan.stdout
    assert re.search(r"rejected +3 +by small", plan.stdout)
    done = tune(tmp_path, "SearchesSoundTiles", *arguments, "--budget", "4", "--json", "-")
    assert done.returncode == 0, done.stderr
    for trial in json.loads(done.stdout)["trials"]:
        assert trial["config"]["tile"] * trial["config"]["unroll"] <= 16


def test_a_dry_run_says_where_there_is_nothing_to_tune_as_the_search_does(tmp_path: Path) -> None:
    why = "nothing to tune: no search space for gemm plain"
    plan = tune(tmp_path, "Honest", "--only", "one", "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert plan.stdout == "Nothing to tune: no search space for any of these layers.\n"
    assert plan.stderr == f"tiny one: {PLANTED}:Honest: {why}\n"
    done = tune(tmp_path, "Honest", "--only", "one", "--budget", "1")
    assert done.returncode == 0, done.stderr
    assert f"on one: {why}\n" in done.stdout


def test_a_dry_run_ends_without_empty_lines(tmp_path: Path) -> None:
    plan = tune(tmp_path, "SearchesSoundTiles", "--dry-run")
    assert plan.stdout.count("combinations are valid") == 2
    assert plan.stdout.rstrip() + "\n" == plan.stdout


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["search", "dry run"])
def test_a_space_file_without_an_axis_of_the_backend_is_refused(
    tmp_path: Path, dry: tuple[str, ...]
) -> None:
    (tmp_path / "mine.yaml").write_text("axes:\n  tile: [4, 8]\n  prefetch: [1, 2]\n")
    done = tune(tmp_path, "SearchesSoundTiles", "--space", "mine.yaml", "--budget", "2", *dry)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--space: got the axes tile, prefetch, but " in done.stderr
    assert "gemm plain also needs unroll. Add them" in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_space_file_gives_knobs_to_a_kernel_without_a_space_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("axes:\n  anything: [4, 8]\n")
    done = tune(tmp_path, "Honest", "--space", "mine.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 combinations are valid" in done.stdout


def test_a_recording_of_a_kernel_alike_seeds_the_search(tmp_path: Path) -> None:
    configs = [(t, u) for t in (4, 8, 16, 32) for u in (1, 2, 4, 8) if 2 * u <= t]
    lines = [f"{t},{u},{1 + abs(t - 32) + abs(u - 4)}" for t, u in configs]
    (tmp_path / "alike.csv").write_text("\n".join(["tile,unroll,time_ms", *lines]) + "\n")
    arguments = ("--only", "one", "--warm-start", "alike.csv", "--evaluations", "2")
    done = tune(tmp_path, "SearchesSoundTiles", *arguments, "--budget", "4")
    assert done.returncode == 0, done.stderr
    exported = call(tmp_path, "export", "--format", "kernel-tuner")
    assert list(json.loads(exported.stdout)["cache"]) == ["8,1", "32,4"]


def test_the_plot_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    arguments = ("--only", "one", "--budget", "3", "--evaluations", "8", "--plot", "search.html")
    done = tune(tmp_path, "SearchesSoundTiles", *arguments)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "search.html").read_text()
    assert "best so far" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)


def test_what_cannot_be_drawn_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    done = tune(tmp_path, "SearchesSoundTiles", "--plot", "nowhere/search.html")
    assert done.returncode == 2
    assert done.stderr.startswith("gemmbench: error: --plot: ")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--strategy", "bayes"), "--strategy: 'bayes' is unknown."),
        (("--backend", "cupy"), "backend 'cupy' is unavailable:"),
        (("--backend", "nunba"), "backend 'nunba' is unknown. Did you mean 'numba'?"),
        (("--db", "tiny.yaml"), "tiny.yaml"),
        (("--plot-axes", "tile,unroll"), "--plot-axes: says what to draw, so it needs --plot"),
        (("--memory", "1K"), "--memory: got 1K"),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["search", "dry run"])
def test_a_dry_run_refuses_what_the_search_refuses(
    tmp_path: Path, arguments: tuple[str, ...], error: str, dry: tuple[str, ...]
) -> None:
    done = tune(tmp_path, "SearchesSoundTiles", *arguments, *dry)
    assert (done.returncode, done.stdout) == (2, "")
    assert error in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--plot-axes", "tile,unroll"), "--plot-axes: says what to draw, so it needs --plot"),
        (("--plot", "s.html", "--plot-axes", "tile"), "got 'tile', expected two axes"),
        (("--plot", "s.html", "--plot-axes", "tiel,unroll"), "an axis 'tiel'. Did you mean 'tile'"),
    ],
)
def test_axes_that_cannot_be_drawn_are_refused_before_anything_is_measured(
    tmp_path: Path, arguments: tuple[str, ...], error: str
) -> None:
    pytest.importorskip("plotly")
    done = tune(tmp_path, "SearchesSoundTiles", *arguments)
    assert done.returncode == 2
    assert error in done.stderr
    assert not (tmp_path / "results").exists()


def test_best_without_a_race_says_what_to_do(tmp_path: Path) -> None:
    done = call(tmp_path, "best", "tiny.yaml")
    assert done.returncode == 2
    assert "there is no such database" in done.stderr


def exported(folder: Path) -> dict[str, Any]:
    done = tune(folder, "SearchesAbortingTile", "--only", "one", "--budget", "6", "--timeout", "2",
                "--strategy", "exhaustive")  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = call(folder, "export", "--format", "kernel-tuner", "--output", "cache.json")
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads((folder / "cache.json").read_text())
    return data


def test_an_exported_search_can_be_replayed_here(tmp_path: Path) -> None:
    data = exported(tmp_path)
    assert data["tune_params_keys"] == ["tile", "unroll"]
    assert data["cache"]["128,1"]["time"] == "RuntimeFailedConfig"
    done = call(tmp_path, "replay", "cache.json", "--seeds", "2", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"][0]["reached_95"] == 1.0


@pytest.mark.filterwarnings("ignore")  # Kernel Tuner's and its dependencies' own
@pytest.mark.parametrize("strategy", ["brute_force", "random_sample"])
def test_kernel_tuner_replays_an_exported_search(tmp_path: Path, strategy: str) -> None:
    kernel_tuner = pytest.importorskip("kernel_tuner", reason="pip install kernel-tuner")
    data = exported(tmp_path)
    results, _ = kernel_tuner.tune_cache(
        str(tmp_path / "cache.json"), strategy=strategy, quiet=True
    )
    times = {f"{r['tile']},{r['unroll']}": r["time"] for r in results}
    right = {key: e["time"] for key, e in data["cache"].items() if not isinstance(e["time"], str)}
    if strategy == "brute_force":
        assert times == right
    assert times.items() <= right.items()
    assert min(times.values()) >= min(right.values())


def test_the_wrong_search_is_asked_about_in_one_line(tmp_path: Path) -> None:
    done = tune(tmp_path, "SearchesSoundTiles", "--budget", "4", "--evaluations", "3")
    assert done.returncode == 0, done.stderr
    done = call(tmp_path, "export", "--format", "kernel-tuner")
    assert done.returncode == 2
    assert "2 searches fit. Choose one: --suite tiny --layer one" in done.stderr
    done = call(tmp_path, "export", "--format", "kernel-tuner", "--layer", "three")
    assert "no search fits" in done.stderr
