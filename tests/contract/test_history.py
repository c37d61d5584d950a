"""Histories and trackers' formats over the same stores; every store gives the same."""

import json
from dataclasses import replace

import pytest

from gemmbench.errors import GemmbenchError
from gemmbench.measurement import Measurement, Sample
from gemmbench.problem import Gemm
from gemmbench.software import Software
from gemmbench.trial import Contender, Trial, TrialState
from gemmbench_results.export.otava import otava_csv, otava_table
from gemmbench_results.history import read_history
from gemmbench_results.report.history import history_csv, history_json, history_text

from .test_store import MACHINE, PROTOCOL, query, store  # noqa: F401  the fixture

SOFTWARE = Software((("numpy", "2.4.6"),), "openblas 0.3.31", "Zen")
NUMBA = Contender("numba", "gemm", config={"mr": 8})
BLAS = Contender("blas", "gemm")
PROBLEM = Gemm(64, 64, 64)


def raced(store, times, *, software=SOFTWARE, machine=MACHINE, protocol=PROTOCOL, **fields):  # noqa: F811
    """A run of one layer; `times` are seconds by contender, or several for several configs."""
    run = store.begin("gemmbench run tiny", machine, protocol, 0, software)
    for contender, seconds in times:
        samples = Measurement(tuple(Sample(seconds * k, 1, 0, n) for n, k in enumerate((1, 1.2))))
        given = {"source_hash": "s", "library": "l", "peak_flops": 1e11, **fields}
        store.record(
            run,
            Trial("tiny", "fc", PROBLEM, contender, TrialState.COMPLETE, measurement=samples,
                  **given),
        )  # fmt: skip
    store.end(run, 0)
    return run


def drifting(store, count, step_at=None, **fields):  # noqa: F811
    for index in range(count):
        pace = 1 + 0.3 * (index % 3)
        slow = 1.08 if step_at is not None and index >= step_at else 1.0
        wobble = 1 + 0.002 * (index * 7 % 5)
        raced(store, [(BLAS, 1e-3 * pace), (NUMBA, 2e-3 * pace * slow * wobble)], **fields)


def test_a_time_is_divided_by_that_of_blas_in_the_same_race(store):  # noqa: F811
    raced(store, [(BLAS, 1e-3), (NUMBA, 2e-3)])
    raced(store, [(BLAS, 3e-3), (NUMBA, 6e-3)])
    (group,) = read_history(store)
    by_backend = {one.contender.backend: one for one in group.series}
    assert [point.value for point in by_backend["numba"].points] == pytest.approx([2, 2])
    assert by_backend["numba"].reference == "blas"
    roofs = [1e-3 * 1e11 / PROBLEM.flops(), 3e-3 * 1e11 / PROBLEM.flops()]
    assert [point.value for point in by_backend["blas"].points] == pytest.approx(roofs)
    assert by_backend["blas"].reference == "roof"


def test_of_several_configs_of_a_contender_the_fastest_stands_for_it(store):  # noqa: F811
    raced(store, [(BLAS, 1e-3), (NUMBA, 3e-3), (replace(NUMBA, config={"mr": 4}), 2e-3)])
    (group,) = read_history(store, backend="numba")
    (point,) = group.series[0].points
    assert (point.value, json.loads(point.config)) == (pytest.approx(2), {"mr": 4})


def test_a_step_is_found_under_drift_and_says_what_changed_with_it(store):  # noqa: F811
    drifting(store, 9)
    drifting(store, 9, step_at=0, source_hash="new")
    (group,) = read_history(store, backend="numba")
    (change,) = group.series[0].changes
    assert change.run == 10
    assert change.ratio == pytest.approx(0.08, abs=0.01)
    assert change.changed == ("source", "reference")


def test_without_a_change_there_is_no_step_however_the_machine_drifts(store):  # noqa: F811
    drifting(store, 18)
    (group,) = read_history(store, backend="numba")
    assert group.series[0].changes == ()


def test_too_few_runs_have_no_steps(store):  # noqa: F811
    drifting(store, 11, step_at=5)
    (group,) = read_history(store, backend="numba")
    assert group.series[0].changes == ()
    assert "Steps are looked for in 12 runs" in history_text([group])


def test_runs_that_differ_are_grouped_apart_and_what_differs_is_told(store):  # noqa: F811
    first = raced(store, [(NUMBA, 1e-3)])
    second = raced(store, [(NUMBA, 2e-3)], software=replace(SOFTWARE, blas_kernel="Haswell"))
    third = raced(store, [(NUMBA, 1e-3)])
    fourth = raced(store, [(NUMBA, 1e-3)], protocol=replace(PROTOCOL, threads=1))
    groups = read_history(store)
    assert [group.runs for group in groups] == [(first, third), (second,), (fourth,)]
    assert [str(one) for one in groups[1].differs] == ["BLAS kernel: Zen → Haswell"]
    assert "threads: 2 → 1" in [str(one) for one in groups[2].differs]
    assert "BLAS kernel: Zen → Haswell" in history_text(groups)


def test_memory_seed_and_effort_do_not_part_runs(store):  # noqa: F811
    raced(store, [(NUMBA, 1e-3)])
    raced(store, [(NUMBA, 1e-3)], machine=replace(MACHINE, memory_bytes=1))
    raced(store, [(NUMBA, 1e-3)], protocol=replace(PROTOCOL, seed=4, processes=9))
    assert len(read_history(store)) == 1


def test_runs_stored_without_their_software_are_comparable_with_their_like_only(store):  # noqa: F811
    raced(store, [(NUMBA, 1e-3)], software=None)
    raced(store, [(NUMBA, 1e-3)])
    raced(store, [(NUMBA, 1e-3)], software=None)
    groups = read_history(store)
    assert [len(group.runs) for group in groups] == [2, 1]
    assert "software: unknown → none" in [str(one) for one in groups[1].differs]
    assert [run.software for run in store.runs()] == [None, SOFTWARE, None]


def test_runs_without_the_reference_are_left_out_and_counted(store):  # noqa: F811
    raced(store, [(BLAS, 1e-3), (NUMBA, 2e-3)])
    raced(store, [(NUMBA, 2e-3)])
    (group,) = read_history(store, backend="numba", reference="blas")
    assert ([point.run for point in group.series[0].points], group.series[0].left_out) == ([1], 1)
    raced(store, [(NUMBA, 2e-3)])
    (group,) = read_history(store, backend="numba")
    assert (group.series[0].reference, len(group.series[0].points)) == ("roof", 3)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"suite": "tinny"}, "suite: no stored race has 'tinny'. Did you mean 'tiny'"),
        ({"layer": "conv*"}, "--layer: no stored race has 'conv*'. Choose from fc"),
        ({"backend": "nunba"}, "--backend: no stored race has 'nunba'. Did you mean 'numba'"),
        ({"reference": "mkl"}, "--reference: no stored race has 'mkl'"),
    ],
)
def test_asking_for_what_is_not_stored_says_what_is(store, asked, message):  # noqa: F811
    raced(store, [(NUMBA, 1e-3)])
    with pytest.raises(GemmbenchError) as error:
        read_history(store, **asked)
    assert message in str(error.value)


def test_an_empty_store_has_no_history(store):  # noqa: F811
    with pytest.raises(GemmbenchError, match="holds no race yet"):
        read_history(store)


def test_wrong_results_searches_and_races_without_a_roof_have_no_part(store):  # noqa: F811
    raced(store, [(NUMBA, 1e-3)], peak_flops=None)
    with pytest.raises(GemmbenchError, match="without a roof"):
        read_history(store)
    raced(store, [(NUMBA, 1e-3)], purpose="tune")
    raced(store, [(NUMBA, 1e-3)])
    (group,) = read_history(store)
    assert [point.run for point in group.series[0].points] == [3]


def test_csv_and_json_hold_every_point(store):  # noqa: F811
    drifting(store, 14, step_at=7)
    groups = read_history(store)
    lines = history_csv(groups).splitlines()
    assert len(lines) == 1 + 2 * 14
    data = json.loads(history_json(groups))
    numba = data["groups"][0]["series"][1]
    assert (numba["contender"], len(numba["points"]), len(numba["steps"])) == ("numba gemm", 14, 1)
    assert numba["steps"][0]["run"] == 8
    assert data["groups"][0]["facts"]["numpy"] == "2.4.6"


def test_view_series_gives_the_same_values_to_a_reader_of_sql(store):  # noqa: F811
    drifting(store, 4)
    (group,) = read_history(store)
    rows = query(store, "SELECT * FROM series ORDER BY trial")
    assert {row["fingerprint"] for row in rows} == {group.fingerprint.key()}
    for series in group.series:
        column = {"blas": "times_blas", "roof": "times_roof"}[series.reference]
        own = [row for row in rows if row["backend"] == series.contender.backend]
        assert [float(row[column]) for row in own] == pytest.approx(
            [point.value for point in series.points]
        )


def test_otava_gets_the_newest_group_without_a_hole(store):  # noqa: F811
    raced(store, [(BLAS, 1e-3), (NUMBA, 2e-3)], software=None)
    raced(store, [(BLAS, 1e-3)])
    raced(store, [(BLAS, 1e-3), (NUMBA, 2e-3)])
    raced(store, [(BLAS, 1e-3), (NUMBA, 3e-3)])
    table = otava_table(read_history(store))
    assert table.metrics == ("tiny/fc/blas gemm", "tiny/fc/numba gemm")
    assert ([run for _, run, _ in table.rows], table.left_out) == ([3, 4], 1)
    lines = otava_csv(table).splitlines()
    assert lines[0] == "time,run,fingerprint,tiny/fc/blas gemm,tiny/fc/numba gemm"
    assert [line.rsplit(",", 1)[1] for line in lines[1:]] == ["2.0", "3.0"]
