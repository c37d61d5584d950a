"""Which runs a report is about, and what it takes from others."""

from dataclasses import replace
from pathlib import Path

import pytest
from example_trials import CONV1, CONV2, FC6, MACHINE, blas, numba, trial

from gemmbench.errors import GemmbenchError
from gemmbench.trial import Trial, TrialState
from gemmbench_results.report.web.evidence import fuller, gather
from gemmbench_results.store import Store, open_store
from report_example import PROTOCOL, SOFTWARE, fill, full_trials, searched


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "results.db")


def stored(
    store: Store, trials: list[Trial], threads: int = 2, command: str = "gemmbench run"
) -> int:
    protocol = replace(PROTOCOL, threads=threads)
    run = store.begin(command, MACHINE, protocol, 0, SOFTWARE)
    for one in trials:
        store.record(run, one)
    store.end(run, 0)
    return run


CONV1_RACE = trial("conv1", CONV1, blas("im2col"), 0.02)
FC6_RACE = trial("fc6", FC6, blas("gemm"), 0.005)


def test_the_newest_of_the_runs_with_most_layers_is_reported(store: Store) -> None:
    stored(store, [CONV1_RACE, FC6_RACE])
    whole = stored(store, [CONV1_RACE, FC6_RACE])
    stored(store, [CONV1_RACE])
    assert gather(store).run.number == whole
    assert gather(store, number=1).run.number == 1


def test_a_run_that_timed_nothing_hides_no_race(store: Store) -> None:
    failed = [replace(one, state=TrialState.FAILED) for one in (CONV1_RACE, FC6_RACE)]
    other = replace(failed[0], suite="vgg16")
    broken = stored(store, failed)
    assert gather(store).run.number == broken, "there is nothing else"
    gaps = stored(store, [CONV1_RACE], command="gemmbench network alexnet")
    assert gather(store).run.number == gaps
    good = stored(store, [CONV1_RACE, *searched("conv1", CONV1)])
    stored(store, [*failed, other])
    half = stored(store, [CONV1_RACE, failed[1]])
    found = gather(store)
    assert (found.suite, found.run.number) == ("alexnet", half), "one layer was timed in each"
    assert fuller(store, found) == []
    stored(store, [*failed, *(replace(t, state=TrialState.FAILED) for t in searched("x", CONV1))])
    assert gather(store).searches.run == good


def test_a_sweep_is_reported_only_where_there_is_nothing_else(store: Store) -> None:
    grid = [replace(CONV1_RACE, layer=f"kernel={size}") for size in (3, 5, 7)]
    sweep = stored(store, grid, command="gemmbench compare alexnet --sweep kernel=3,5,7")
    assert gather(store).run.number == sweep
    whole = stored(store, [CONV1_RACE, FC6_RACE])
    assert gather(store).run.number == whole


def test_what_a_network_raced_to_fill_gaps_is_no_race_of_the_suite(store: Store) -> None:
    gaps = stored(store, [CONV1_RACE, FC6_RACE], command="gemmbench network alexnet --threads 2")
    assert gather(store).run.number == gaps, "there is nothing else"
    raced = stored(store, [CONV1_RACE], command="gemmbench run alexnet --only conv1")
    stored(store, [FC6_RACE, CONV1_RACE], command="gemmbench network alexnet")
    found = gather(store)
    assert found.run.number == raced
    assert fuller(store, found) == [(3, 2), (1, 2)]
    assert fuller(store, gather(store, number=gaps)) == []


def test_a_suite_is_chosen_by_name_and_two_of_one_run_are_asked_about(store: Store) -> None:
    other = replace(CONV1_RACE, suite="vgg16")
    stored(store, [CONV1_RACE, other])
    assert gather(store, "vgg16").trials == (other,)
    with pytest.raises(GemmbenchError, match="run 1: holds the suites alexnet, vgg16"):
        gather(store)


@pytest.mark.parametrize(
    ("suite", "number", "message"),
    [
        ("alexnt", None, "holds no race of 'alexnt'. Did you mean 'alexnet'?"),
        (None, 9, "there is no run 9"),
        (None, 2, "run 2 holds no race. Leave --run out"),
        ("vgg16", 1, "run 1 holds no race of 'vgg16'"),
    ],
)
def test_what_is_not_there_is_an_error(store: Store, suite, number, message: str) -> None:
    stored(store, [CONV1_RACE])
    stored(store, [replace(CONV1_RACE, purpose="check")])
    with pytest.raises(GemmbenchError) as error:
        gather(store, suite, number)
    assert message in str(error.value)


def test_stages_and_searches_come_from_a_comparable_run_where_this_one_has_none(store) -> None:
    earlier = stored(
        store, [replace(CONV1_RACE, stages={"im2col": 0.01}), *searched("conv1", CONV1)]
    )
    stored(store, [replace(CONV1_RACE, stages={"other": 1.0})], threads=1)
    latest = stored(store, [CONV1_RACE])
    found = gather(store)
    assert found.run.number == latest
    assert (found.stages.run, dict(found.stages.trials[0].stages)) == (earlier, {"im2col": 0.01})
    assert (found.searches.run, len(found.searches.trials)) == (earlier, 6)


def test_who_tells_no_stages_stays_beside_those_who_do(store: Store) -> None:
    stored(
        store, [replace(CONV1_RACE, stages={"im2col": 0.01}), trial("conv1", CONV1, numba("x"), 1)]
    )
    assert len(gather(store).stages.trials) == 2


def test_nothing_is_taken_from_a_run_that_cannot_be_compared(store: Store) -> None:
    stored(store, [replace(CONV1_RACE, stages={"im2col": 0.01})], threads=1)
    stored(store, [CONV1_RACE, FC6_RACE])
    found = gather(store)
    assert found.stages.trials == ()
    assert len(found.races) == 2


def test_the_newest_race_of_a_problem_stands_for_it_whatever_its_suite(store: Store) -> None:
    old = replace(trial("deep", CONV2, numba("im2col"), 0.03), suite="other")
    stored(store, [old, replace(CONV1_RACE, layer="old")])
    stored(store, [CONV1_RACE])
    names = {race[0].problem: race[0].layer for race in gather(store, "alexnet").races}
    assert names == {CONV1: "conv1", CONV2: "deep"}


def test_the_history_is_that_of_the_suite(store: Store) -> None:
    fill(store, full_trials(), runs=2)
    stored(store, [replace(CONV1_RACE, suite="other")])
    (group,) = gather(store, "alexnet").history
    assert {series.suite for series in group.series} == {"alexnet"}
    assert group.runs == (1, 2)
