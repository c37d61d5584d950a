"""The same assertions for every store. GEMMBENCH_TEST_DB adds one more, which is wiped."""

import math
import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, exc, text

from gemmbench.comparison import Comparison, GateVerdict
from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine
from gemmbench.measurement import Measurement, Sample
from gemmbench.problem import Conv2d, Gemm, Linear
from gemmbench.trial import (
    FEWEST_EVALUATIONS,
    Contender,
    Environment,
    RaceProtocol,
    Trial,
    TrialState,
)
from gemmbench_results import schema
from gemmbench_results.rows import comparable_key
from gemmbench_results.store import open_store

MACHINE = Machine("Example CPU", "zen4", ("avx2", "fma"), 2, 2**15, 2**20, 2**25, 2**33, "Linux")
PROTOCOL = RaceProtocol(threads=2, notes=("a note",))
CONV = Conv2d(10, 96, 27, 27, 256, (5, 5), pad=(2, 2), groups=2)
COMPLETE = Trial(
    suite="alexnet",
    layer="conv2",
    problem=CONV,
    contender=Contender("numba", "im2col", config={"nv": 3, "mr": 8, "copy": True}, tuned=True),
    state=TrialState.COMPLETE,
    threads=2,
    source_hash="abc",
    measurement=Measurement((Sample(0.25, 10, 0, 0), Sample(0.5, 21, 1, 4))),
    stages={"im2col": 0.01},
    peak_flops=2e11,
)


@pytest.fixture(params=["file", "sqlite URL", "memory", "GEMMBENCH_TEST_DB"])
def store(request, tmp_path):
    if request.param == "GEMMBENCH_TEST_DB":
        if not os.environ.get("GEMMBENCH_TEST_DB"):
            pytest.skip("GEMMBENCH_TEST_DB names no database")
        place = os.environ["GEMMBENCH_TEST_DB"]
        wipe(place)
    else:
        file = tmp_path / "folder" / "results.db"
        places = {"file": str(file), "sqlite URL": f"sqlite:///{file}", "memory": ":memory:"}
        place = places[request.param]
    with open_store(place) as opened:
        yield opened


def wipe(url):
    engine = create_engine(url)
    with engine.begin() as connection:
        for view in ("best", "latest", "series"):
            connection.execute(text(f"DROP VIEW IF EXISTS {view}"))
        schema.metadata.drop_all(connection)
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
    engine.dispose()


def begin(store, **protocol):
    return store.begin("gemmbench run alexnet", MACHINE, replace(PROTOCOL, **protocol), seed=5)


def query(store, sql):
    with store._database.reading() as connection:
        return connection.execute(text(sql)).mappings().all()


def test_an_empty_store_holds_nothing(store):
    assert store.runs() == []
    assert store.latest_run() is None
    assert store.trials(1) == []
    assert store.best_config(MACHINE, PROTOCOL, CONV, COMPLETE.contender, "abc") is None
    assert store.comparisons(1) == []
    assert store.evaluations(MACHINE, PROTOCOL, COMPLETE.contender) == []


def test_a_run_comes_back_with_its_machine_and_protocol(store):
    first, second = begin(store), begin(store, seed=1, cache="cold")
    store.end(first, 0)
    assert [run.number for run in store.runs()] == [first, second]
    ended, latest = store.runs()
    assert (ended.machine, ended.protocol, ended.seed) == (MACHINE, PROTOCOL, 5)
    assert (ended.command, ended.exit_code) == ("gemmbench run alexnet", 0)
    assert ended.started_at <= ended.ended_at
    assert latest == store.latest_run() == store.run(second)
    assert latest.protocol == replace(PROTOCOL, seed=1, cache="cold")
    assert (latest.ended_at, latest.exit_code) == (None, None)


def test_asking_for_a_run_that_is_not_there_is_an_error(store):
    with pytest.raises(GemmbenchError, match="there is no run 7"):
        store.run(7)
    begin(store)
    with pytest.raises(GemmbenchError, match="there is no run 7"):
        store.run(7)


def test_trials_come_back_in_order_and_by_run(store):
    first, second = begin(store), begin(store)
    trials = [replace(COMPLETE, layer=f"conv{number}") for number in range(3)]
    for trial in trials:
        store.record(first, trial)
    store.record(second, COMPLETE)
    assert store.trials(first) == trials
    assert store.trials(second) == [COMPLETE]


def test_an_infinite_error_is_kept(store):
    run = begin(store)
    wrong = replace(COMPLETE, state=TrialState.WRONG, max_error=float("inf"), error_bound=0.0)
    store.record(run, wrong)
    assert store.trials(run) == [wrong]


words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)
sizes = st.integers(1, 500)
problems = st.one_of(
    st.builds(Gemm, sizes, sizes, sizes, st.sampled_from(["float32", "float64"])),
    st.builds(Linear, sizes, sizes, sizes),
    st.builds(Conv2d, sizes, sizes, sizes, sizes, sizes, st.just((1, 1)), st.tuples(sizes, sizes)),
)
contenders = st.builds(
    Contender,
    backend=words,
    algorithm=words,
    weights=st.sampled_from(["plain", "prepared"]),
    config=st.dictionaries(words, st.booleans() | st.integers(-(2**40), 2**40) | words),
    environment=st.builds(Environment, words, st.lists(st.tuples(words, words)).map(tuple)),
    tuned=st.booleans(),
)
counts = st.integers(0, 2**31 - 1)
samples = st.builds(Sample, st.floats(1e-9, 1e3), st.integers(1, 10**6), st.integers(0, 3), counts)
trials = st.builds(
    Trial,
    suite=words,
    layer=words,
    problem=problems,
    contender=contenders,
    state=st.sampled_from(TrialState),
    reason=words,
    purpose=st.sampled_from(["race", "tune", "share"]),
    threads=st.integers(1, 512),
    library=words,
    source_hash=words,
    max_error=st.none() | st.floats(0, allow_nan=False),
    error_bound=st.none() | finite,
    measurement=st.lists(samples, max_size=12).map(tuple).map(Measurement),
    stages=st.dictionaries(words, finite, max_size=3),
    workspace_bytes=st.none() | st.integers(0, 2**60),
    own_flops=st.none() | st.integers(0, 2**60),
    peak_flops=st.none() | finite,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(recorded=st.lists(trials, max_size=3))
def test_what_goes_in_comes_out_equal(store, recorded):
    run = begin(store)
    for trial in recorded:
        store.record(run, trial)
    found = store.trials(run)
    assert found == recorded
    assert [list(t.contender.config) for t in found] == [list(t.contender.config) for t in recorded]


def test_recording_into_no_run_is_refused(store):
    begin(store)
    with pytest.raises(exc.IntegrityError):
        store.record(99, COMPLETE)


def test_deleting_a_run_deletes_its_trials_and_samples(store):
    store.record(begin(store), COMPLETE)
    with store._database.writing() as connection:
        connection.execute(text("DELETE FROM run"))
    assert query(store, "SELECT * FROM trial") == query(store, "SELECT * FROM sample") == []


def best(store, **changes):
    given = {
        "machine": MACHINE,
        "protocol": PROTOCOL,
        "problem": CONV,
        "contender": COMPLETE.contender,
        "source_hash": "abc",
    }
    return store.best_config(**{**given, **changes})


def test_the_newest_stored_winner_is_found(store):
    run = begin(store)
    store.record(run, COMPLETE)
    newer = replace(COMPLETE.contender, config={"mr": 4})
    store.record(run, replace(COMPLETE, contender=newer))
    assert best(store) == {"mr": 4}
    store.record(begin(store, seed=9, notes=(), processes=7), COMPLETE)
    assert best(store) == COMPLETE.contender.config


@pytest.mark.parametrize(
    "changes",
    [
        {"state": TrialState.WRONG},
        {"state": TrialState.FAILED},
        {"purpose": "tune"},
        {"threads": 1},
        {"contender": replace(COMPLETE.contender, tuned=False)},
    ],
)
def test_only_a_complete_race_of_a_tuned_config_is_a_winner(store, changes):
    store.record(begin(store), replace(COMPLETE, **changes))
    assert best(store) is None


def test_a_config_less_exact_than_was_asked_for_is_no_stored_winner(store):
    run = begin(store, max_error=1e-5)
    faster = Measurement((Sample(0.001, 10, 0, 0),))
    limited = replace(PROTOCOL, max_error=1e-5)
    for mr, error, measurement in [
        (2, 1e-3, faster), (6, None, faster), (4, 1e-6, COMPLETE.measurement),
    ]:  # fmt: skip
        assert best(store, protocol=limited) is None
        store.record(run, replace(
            COMPLETE, contender=replace(COMPLETE.contender, config={"mr": mr}),
            measurement=measurement, relative_error=error, error_limit=1e-5,
        ))  # fmt: skip
    assert best(store, protocol=limited) == {"mr": 4}


@pytest.mark.parametrize(
    "changes",
    [
        {"machine": replace(MACHINE, cores=4)},
        {"protocol": replace(PROTOCOL, cache="cold")},
        {"problem": replace(CONV, batch=1)},
        {"contender": replace(COMPLETE.contender, backend="blas")},
        {"contender": replace(COMPLETE.contender, algorithm="fft")},
        {"contender": replace(COMPLETE.contender, weights="prepared")},
        {"source_hash": "abd"},
    ],
)
def test_a_winner_of_other_circumstances_is_not_reused(store, changes):
    store.record(begin(store), COMPLETE)
    assert best(store, **changes) is None


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"notes": ()}, {"processes": 9}, {"stop": "budget"}],
)
def test_protocols_that_differ_in_effort_are_comparable(changes):
    assert comparable_key(replace(PROTOCOL, **changes)) == comparable_key(PROTOCOL)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": 2},
        {"fill": "zeros"},
        {"cache": "cold"},
        {"cold_bytes": 2**28},
        {"threads": 1},
        {"block_seconds": 0.1},
        {"warmup_calls": 0},
        {"alignment": 16},
        {"forced": ("OPENBLAS_CORETYPE=Haswell",)},
    ],
)
def test_protocols_that_change_timings_are_not_comparable(changes):
    assert comparable_key(replace(PROTOCOL, **changes)) != comparable_key(PROTOCOL)


def in_seconds(seconds, **changes):
    return replace(COMPLETE, measurement=Measurement((Sample(seconds, 1),)), **changes)


def test_view_best_has_the_fastest_trial_of_each_layer(store):
    run = begin(store)
    blas = Contender("blas", "im2col")
    store.record(run, in_seconds(0.2))
    store.record(run, in_seconds(0.1, contender=blas))
    store.record(run, in_seconds(0.3))
    store.record(run, in_seconds(0.01, state=TrialState.WRONG))
    store.record(run, in_seconds(0.01, purpose="tune"))
    store.record(run, in_seconds(0.05, contender=replace(blas, weights="prepared")))
    store.record(begin(store, fill="zeros"), in_seconds(0.001))
    rows = query(store, "SELECT * FROM best ORDER BY ms")
    found = [(row["fill"], row["weights"], row["backend"], float(row["ms"])) for row in rows]
    assert found == [
        ("zeros", "plain", "numba", 1),
        ("uniform", "prepared", "blas", 50),
        ("uniform", "plain", "blas", 100),
    ]
    assert float(rows[2]["gflops"]) == round(CONV.flops() / 0.1 / 1e9, 2)
    assert float(rows[2]["percent_of_peak"]) == round(100 * CONV.flops() / 0.1 / 2e11, 1)
    assert rows[2]["machine"] == f"Example CPU ({MACHINE.key()})"
    assert rows[2]["shape"] == "128×1200×729 ×20"


def test_view_latest_has_the_newest_trial_of_each_contender(store):
    run = begin(store)
    default = Contender("numba", "im2col", config={"mr": 6})
    for seconds, contender in ((0.1, default), (0.2, COMPLETE.contender), (0.3, default)):
        store.record(run, in_seconds(seconds, contender=contender))
    rows = query(store, "SELECT * FROM latest ORDER BY ms")
    assert [(bool(row["tuned"]), float(row["ms"])) for row in rows] == [(True, 200), (False, 300)]
    assert [row["config"] for row in rows] == ['{"copy":true,"mr":8,"nv":3}', '{"mr":6}']


def searched(**changes):
    return replace(COMPLETE, **{"purpose": "tune", **changes})


def test_evaluations_come_back_by_kernel_with_whether_they_were_measured_here(store):
    elsewhere = replace(MACHINE, cpu="Another CPU")
    first = begin(store)
    store.record(first, searched())
    store.record(first, searched(state=TrialState.FAILED, measurement=Measurement()))
    store.record(first, searched(state=TrialState.SKIPPED, measurement=Measurement()))
    store.record(first, COMPLETE)
    store.record(first, searched(contender=replace(COMPLETE.contender, algorithm="gemm")))
    store.record(begin(store, cache="cold"), searched(problem=Gemm(1, 2, 3)))
    third = store.begin("gemmbench tune", elsewhere, PROTOCOL, 0)
    store.record(third, searched(source_hash="new"))
    found = store.evaluations(MACHINE, PROTOCOL, COMPLETE.contender)
    assert [(e.problem, e.seconds, e.here, e.source_hash) for e in found] == [
        (CONV, pytest.approx((0.025 * 0.5 / 21) ** 0.5), True, "abc"),
        (CONV, None, True, "abc"),
        (Gemm(1, 2, 3), pytest.approx((0.025 * 0.5 / 21) ** 0.5), False, "abc"),
        (CONV, pytest.approx((0.025 * 0.5 / 21) ** 0.5), False, "new"),
    ]
    assert {e.machine for e in found} == {MACHINE.key(), elsewhere.key()}
    assert all(dict(e.config) == dict(COMPLETE.contender.config) for e in found)


def test_evaluations_less_exact_than_was_asked_for_come_back_as_not_timed(store):
    run = begin(store)
    for limit, error in [(None, None), (None, 1e-3), (1e-5, 1e-6), (1e-5, 1e-3), (1e-5, None)]:
        store.record(run, searched(error_limit=limit, relative_error=error))
    found = store.evaluations(MACHINE, PROTOCOL, COMPLETE.contender)
    assert [one.seconds is not None for one in found] == [True, True, True, False, False]


def test_evaluations_tell_what_was_measured_in_one_go_and_what_timed_out(store):
    first, second = begin(store), begin(store)
    hung = {"state": TrialState.FAILED, "measurement": Measurement()}
    store.record(first, searched())
    store.record(first, searched(reason="timed out after 20 s", **hung))
    store.record(first, searched(reason="exited with code 1", **hung))
    store.record(first, searched(purpose="share"))
    store.record(first, searched(layer="twin"))
    store.record(second, searched())
    found = store.evaluations(MACHINE, PROTOCOL, COMPLETE.contender)
    assert [one.timed_out for one in found] == [False, True, False, False, False, False]
    moments = [one.moment for one in found]
    assert moments[0] == moments[1] == moments[2]
    assert len(set(moments)) == 4


def test_a_default_that_a_search_could_not_beat_is_the_stored_winner(store):
    run = begin(store)
    default = replace(COMPLETE.contender, config={"mr": 4}, tuned=False)
    for _ in range(FEWEST_EVALUATIONS - 1):
        store.record(run, searched())
    store.record(run, replace(COMPLETE, contender=default))
    assert best(store) is None, "so few configs are no search"
    store.record(run, searched())
    assert best(store) == {"mr": 4}
    store.record(begin(store), replace(COMPLETE, contender=default))  # a race without a search
    tuned = replace(COMPLETE.contender, config={"mr": 6})
    newest = begin(store)
    store.record(newest, replace(COMPLETE, contender=tuned))
    assert best(store) == {"mr": 6}
    faster = Measurement((Sample(0.001, 10, 0, 0),))
    store.record(newest, replace(COMPLETE, contender=default, measurement=faster))
    assert best(store) == {"mr": 4}, "it beat the tuned config beside it"


def test_evaluations_under_another_environment_are_another_kernels(store):
    other = replace(COMPLETE.contender, environment=Environment("/python", (("A", "1"),)))
    store.record(begin(store), searched(contender=other))
    assert store.evaluations(MACHINE, PROTOCOL, COMPLETE.contender) == []
    assert len(store.evaluations(MACHINE, PROTOCOL, other)) == 1


def test_the_comparable_races_of_a_problem_come_the_newest_first(store):
    assert list(store.races(MACHINE, PROTOCOL, CONV)) == []
    first = begin(store)
    store.record(first, COMPLETE)
    second = begin(store)
    store.record(second, replace(COMPLETE, layer="twin"))  # another layer, another race
    store.record(second, replace(COMPLETE, layer="again"))
    store.record(second, searched())
    store.record(second, replace(COMPLETE, problem=Gemm(1, 2, 3)))
    store.record(begin(store, cache="cold"), COMPLETE)
    store.record(begin(store), replace(COMPLETE, state=TrialState.WRONG))
    elsewhere = store.begin("run", replace(MACHINE, cpu="Another CPU"), PROTOCOL, 0)
    store.record(elsewhere, COMPLETE)
    races = list(store.races(MACHINE, PROTOCOL, CONV))
    assert [run for run, _ in races] == [second, first]
    assert [[trial.layer for trial in trials] for _, trials in races] == [["again"], ["conv2"]]
    assert races[1][1][0].measurement == COMPLETE.measurement


def test_a_race_is_not_hidden_by_what_was_skipped_of_a_twin_before_the_run_was_cut_short(store):
    run = begin(store)
    store.record(run, COMPLETE)
    skipped = replace(COMPLETE, layer="twin", state=TrialState.SKIPPED, measurement=Measurement())
    store.record(run, skipped)
    ((_, trials),) = store.races(MACHINE, PROTOCOL, CONV)
    assert [(trial.layer, trial.state) for trial in trials] == [("conv2", TrialState.COMPLETE)]


def test_of_several_tuned_configs_raced_together_the_fastest_is_the_stored_winner(store):
    run = begin(store)
    for mr, seconds in [(4, 3.0), (6, 1.0), (8, 2.0)]:
        contender = replace(COMPLETE.contender, config={"mr": mr})
        measurement = Measurement((Sample(seconds, 1, 0, 0),))
        store.record(run, replace(COMPLETE, contender=contender, measurement=measurement))
    assert store.best_config(MACHINE, PROTOCOL, CONV, COMPLETE.contender, "abc") == {"mr": 6}


COMPARISON = Comparison(
    "conv2", "numba", 0.05, 0.03, 0.07, 0.02, GateVerdict.REGRESSED, 10, 3.5, "main", "here"
)


def test_a_comparison_comes_back_with_both_sides_and_their_samples(store):
    run = begin(store)
    base, head = (replace(COMPLETE, purpose="check", library=name) for name in ("base", "head"))
    store.compared(run, COMPARISON, "abc", base, head)
    assert store.comparisons(run) == [COMPARISON]
    assert store.trials(run) == [base, head]
    assert store.comparisons(run + 1) == []
    found = query(store, "SELECT * FROM best")
    assert found == []  # a side of a comparison is no race


def test_a_decided_comparison_replaces_the_undecided_one_of_the_same(store):
    run = begin(store)
    undecided = replace(COMPARISON, verdict=GateVerdict.UNDECIDED)
    store.compared(run, undecided, "", COMPLETE, COMPLETE)
    store.compared(run, undecided, "abc", COMPLETE, COMPLETE)
    store.compared(run, undecided, "other", COMPLETE, COMPLETE)
    store.compared(run, COMPARISON, "abc", COMPLETE, COMPLETE)
    store.compared(run, COMPARISON, "", COMPLETE, COMPLETE)
    assert store.comparisons(run) == [undecided, undecided, COMPARISON, COMPARISON]
    assert store.trials(run) == [COMPLETE] * 8


def test_the_latest_run_may_be_asked_for_by_what_it_holds(store):
    run = begin(store)
    store.record(run, COMPLETE)
    check = begin(store)
    side = replace(COMPLETE, purpose="check")
    store.compared(check, COMPARISON, "abc", side, side)
    assert [store.latest_run(purpose).number for purpose in ("", "race")] == [check, run]
    assert store.latest_run("tune") is None


def test_a_run_in_which_everything_failed_is_not_the_latest_that_timed_something(store):
    assert store.latest_timed_run("race") is None
    good, bad = begin(store), begin(store)
    store.record(good, COMPLETE)
    store.record(bad, replace(COMPLETE, state=TrialState.FAILED, measurement=Measurement()))
    store.record(bad, replace(COMPLETE, purpose="tune"))
    assert store.latest_timed_run("race").number == good
    assert store.latest_timed_run("tune").number == bad


def test_what_is_not_finite_comes_back_as_nan(store):
    run = begin(store)
    nothing = replace(COMPARISON, estimate=math.nan, low=-math.inf, high=math.inf, pairs=0)
    store.compared(run, nothing, "abc", COMPLETE, COMPLETE)
    (found,) = store.comparisons(run)
    assert all(math.isnan(value) for value in (found.estimate, found.low, found.high))
    assert found.smallest_visible == COMPARISON.smallest_visible


@pytest.mark.parametrize(
    ("ended", "verdict", "identity", "expected"),
    [
        (None, GateVerdict.OK, "abc", True),
        (130, GateVerdict.REGRESSED, "abc", True),
        (0, GateVerdict.OK, "abc", False),
        (1, GateVerdict.REGRESSED, "abc", False),
        (None, GateVerdict.UNDECIDED, "abc", False),
        (None, GateVerdict.OK, "other", False),
    ],
)
def test_only_decided_comparisons_of_the_same_in_an_interrupted_run_are_resumed(
    store, ended, verdict, identity, expected
):
    first = begin(store)
    decided = replace(COMPARISON, verdict=verdict)
    store.compared(first, decided, identity, COMPLETE, COMPLETE)
    if ended is not None:
        store.end(first, ended)
    second = begin(store)
    assert store.resumed(second, "abc") == (decided if expected else None)
    assert store.comparisons(second) == ([decided] if expected else [])


def test_a_run_is_not_resumed_from_itself(store):
    run = begin(store)
    store.compared(run, COMPARISON, "abc", COMPLETE, COMPLETE)
    assert store.resumed(run, "abc") is None


def test_withdrawn_verdicts_are_undecided_but_the_controls_own(store):
    run = begin(store)
    store.compared(run, COMPARISON, "abc", COMPLETE, COMPLETE)
    store.compared(run, COMPARISON, "", COMPLETE, COMPLETE)
    store.withdraw(run)
    verdicts = [one.verdict for one in store.comparisons(run)]
    assert verdicts == [GateVerdict.UNDECIDED, GateVerdict.REGRESSED]
