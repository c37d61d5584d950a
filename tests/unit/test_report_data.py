"""Chart data of the report: pure functions from trials."""

from dataclasses import replace

import pytest
from example_trials import CONV1, CONV2, FC6, PEAK, blas, example_trials, numba, trial

from gemmbench.problem import Conv2d
from gemmbench.trial import Contender, TrialState
from gemmbench_results.report.web.algorithms import WHOLE, kernel_map, ratios, stage_names, staged
from gemmbench_results.report.web.searches import improvements, searches, tile_map
from gemmbench_results.report.web.speeds import (
    FASTEST,
    bandwidths,
    lane,
    network_bars,
    rates,
    typical_peak,
)
from gemmbench_results.report.web.summary import headline, tiles
from gemmbench_results.report.web.trials import COLUMNS, trial_rows
from report_example import full_trials, searched


def about(value: float) -> object:
    """The mean over processes is that of logarithms, a little below the middle one."""
    return pytest.approx(value, rel=1e-4)


def test_a_bar_adds_up_the_fastest_of_its_lane_and_the_first_that_of_all() -> None:
    bars = {bar.lane: bar for bar in network_bars(example_trials(), {})}
    assert next(iter(bars)) == FASTEST
    assert bars[FASTEST].seconds == about(0.0052 + 0.0328 + 0.0048)
    assert bars["numba"].seconds == about(0.0123 + 0.0328 + 0.0048)
    assert [s.contender for s in bars[FASTEST].segments] == [
        "fft fft",
        "numba im2col",
        "numba gemm",
    ]


def test_a_layer_that_the_network_repeats_counts_as_often() -> None:
    (bar,) = network_bars([trial("conv1", CONV1, blas("im2col"), 0.01)], {"conv1": 3})
    assert bar.seconds == about(0.03)
    assert bar.segments[0].count == 3


def test_a_lane_that_lacks_layers_says_which_and_comes_after_those_that_have_all() -> None:
    bars = network_bars(example_trials(), {})
    fft = next(bar for bar in bars if bar.lane == "fft")
    assert fft.missing == ("conv2", "fc6")
    complete = [bar.lane for bar in bars if not bar.missing]
    assert [bar.lane for bar in bars][: len(complete)] == complete
    assert "fft" not in complete


def test_prepared_weights_are_a_lane_of_their_own_and_not_in_the_fastest() -> None:
    bars = {bar.lane: bar for bar in network_bars(example_trials(), {})}
    assert bars["numba prepared"].seconds == about(0.025)
    plain = [s for s in bars[FASTEST].segments if "prepared" in s.contender]
    assert plain == []


def test_an_environment_tells_lanes_apart() -> None:
    names = {lane(one.contender) for one in example_trials()}
    assert {"blas", "blas (OMP=2)"} <= names


def test_a_contender_that_may_not_win_is_in_no_bar() -> None:
    inexact = trial("conv1", CONV1, numba("winograd"), 0.001, error_limit=1e-6, relative_error=1e-3)
    exact = trial("conv1", CONV1, blas("im2col"), 0.01)
    assert [bar.lane for bar in network_bars([inexact, exact], {})] == ["blas"]


def test_rates_are_by_the_direct_operations_against_the_roofs_raced_beside_them() -> None:
    (rate,) = rates([trial("fc6", FC6, blas("gemm"), 0.005, peak_bytes=4e10)])
    assert rate.gflops == about(FC6.flops() / 0.005 / 1e9)
    assert rate.intensity == about(FC6.flops() / FC6.minimal_bytes())
    assert rate.attainable_gflops == about(min(PEAK / 1e9, 40 * rate.intensity))
    assert typical_peak([rate]) == about(PEAK / 1e9)


def test_a_second_bandwidth_is_shown_only_where_it_is_another_memory() -> None:
    def at(*speeds: float) -> list[float]:
        trials = [
            trial(f"l{n}", FC6, blas("gemm"), 0.005, peak_bytes=speed)
            for n, speed in enumerate(speeds)
        ]
        return bandwidths(rates(trials))

    assert at(2e10, 2.2e10) == [20]
    assert at(2e10, 9e10, 2.1e10) == [20, 90]
    assert bandwidths(rates([trial("l", FC6, blas("gemm"), 0.005, peak_bytes=None)])) == []


def test_ratios_are_over_the_fastest_of_the_same_weights_and_of_convolutions_only() -> None:
    found = ratios(example_trials())
    assert found.layers == ("conv1", "conv2")
    row = dict(zip(found.contenders, found.ratios[1], strict=True))
    assert row["numba im2col"] == 1
    assert row["numba im2col prepared"] == 1
    assert row["fft fft"] is None
    assert row["blas im2col"] == about(0.0331 / 0.0328)


def race(kernel: int, stride: int, **seconds: float) -> list:
    problem = Conv2d(1, 8, 32, 32, 8, (kernel, kernel), stride=(stride, stride))
    return [
        trial(f"k{kernel}s{stride}", problem, Contender("numba", name.replace("_", "-")), time)
        for name, time in seconds.items()
    ]


def test_the_map_names_the_fastest_algorithm_of_each_kernel_size_and_stride() -> None:
    races = [race(3, 1, im2col=2.0, winograd=1.0), race(11, 1, im2col=3.0, fft=1.0),
             race(11, 4, im2col=1.0, fft=9.0)]  # fmt: skip
    cells = kernel_map(races, "plain")
    assert [(c.kernel[0], c.stride[0], c.algorithm) for c in cells] == [
        (3, 1, "winograd"), (11, 1, "fft"), (11, 4, "im2col")]  # fmt: skip
    assert cells[2].ratio == about(9)
    assert kernel_map(races, "prepared") == []


def test_a_cell_of_several_races_counts_them_and_a_lone_algorithm_is_no_race() -> None:
    races = [race(3, 1, im2col=2.0, winograd=1.0), race(3, 1, im2col=2.0, winograd=1.0),
             race(3, 1, im2col=1.0, winograd=2.0), race(5, 1, im2col=1.0)]  # fmt: skip
    (cell,) = kernel_map(races, "plain")
    assert (cell.algorithm, cell.wins, cell.races, cell.sure) == ("winograd", 2, 3, 2)


def test_stages_stand_beside_the_contenders_that_have_none() -> None:
    found = staged(full_trials())
    conv1 = {one.contender: one for one in found if one.layer == "conv1"}
    assert dict(conv1["blas im2col"].stages) == {"im2col": 0.004, "multiply": 0.0147}
    assert conv1["fft fft"].stages == ((WHOLE, about(0.0052)),)
    assert conv1["fft fft"].workspace_bytes == 12_345_678
    assert "fc6" not in {one.layer for one in found}


def test_stages_are_in_the_order_of_a_call_whoever_comes_first() -> None:
    names = stage_names(staged(full_trials()))
    order = [names.index(name) for name in ("input transform", "multiply", "output transform")]
    assert order == sorted(order)
    assert names.index("im2col") < names.index("multiply")


def test_the_best_so_far_steps_down_and_a_failure_counts_as_an_evaluation() -> None:
    (search,) = searches(searched("conv1", CONV1))
    steps = improvements(search)
    assert [step.evaluation for step in steps] == [1, 2, 4, 5]
    assert steps[-1].seconds == about(0.0155)
    assert steps[-1].gflops == about(CONV1.flops() / 0.0155 / 1e9)
    assert steps[0].config == "mr=2 nv=1 kc=256"


def test_a_tile_map_keeps_the_fastest_of_a_cell_and_leaves_out_what_was_not_timed() -> None:
    (search,) = searches(searched("conv1", CONV1))
    found = tile_map(search.points())
    assert found is not None
    assert {found.across, found.down} == {"mr", "nv"}
    cells = [ms for row in found.ms for ms in row]
    assert cells.count(None) == 1
    assert min(ms for ms in cells if ms is not None) == about(15.5)


def test_a_space_with_one_axis_has_no_map() -> None:
    points = [({"mr": 1, "kc": 8}, 1.0), ({"mr": 2, "kc": 8}, 2.0)]
    assert tile_map(points) is None
    assert tile_map([({"mr": 1, "kc": 8}, None)]) is None


def test_the_headline_counts_layers_by_who_surely_leads_them() -> None:
    trials = [
        *race(3, 1, im2col=2.0, winograd=1.0),
        trial("fc6", FC6, blas("gemm"), 0.005),
        trial("fc6", FC6, numba("gemm"), 0.004),
        trial("fc7", FC6, blas("gemm"), 0.0040),
        trial("fc7", FC6, numba("gemm"), 0.004),
    ]
    assert headline(trials) == "numba is fastest on 2 of 3 layers. On fc7 it is not decided."
    skipped = trial("fc6", FC6, blas("gemm"), state=TrialState.SKIPPED)
    assert headline([skipped]) == "Nobody is surely fastest on any layer."


def test_who_passed_the_peak_is_surely_fastest_nowhere() -> None:
    own = [
        replace(one, peak_flops=1e3)  # FLOP/s, which im2col passes by far
        for one in race(3, 1, im2col=1.0, direct=2.0)
    ]
    assert headline(own) == "Nobody is surely fastest on any layer."
    assert kernel_map([own], "plain")[0].sure == 0
    both = [*own, *race(5, 1, im2col=1.0, direct=2.0)]
    assert headline(both) == "numba is fastest on 1 of 2 layers. On k3s1 it is not decided."


def test_who_raced_alone_is_fastest_nowhere() -> None:
    assert headline(race(3, 1, im2col=1.0)) == "Nobody is surely fastest on any layer."


def test_the_tiles_tell_the_pass_the_share_of_the_peak_and_what_did_not_complete() -> None:
    shown = {tile.name: tile for tile in tiles(full_trials(), {})}
    assert shown[FASTEST].note.endswith("an image at batch 10")
    assert "% of a peak of 210, by direct" in shown["GFLOP/s over the whole"].note
    assert shown["contenders timed"].note == "1 WRONG, 1 FAILED, 1 SKIPPED"
    assert shown["configs searched"].value == "6"


def test_every_trial_is_a_row_and_what_has_no_number_sorts_last() -> None:
    trials = full_trials()
    rows = trial_rows(trials)
    assert len(rows) == len(trials)
    names = [column.name for column in COLUMNS]
    wrong = next(row for row in rows if row.state == "WRONG")
    assert wrong.cells[names.index("time")].text == ""
    assert wrong.cells[names.index("time")].key == float("inf")
    assert wrong.cells[names.index("reason")].text == "the answer was remembered"
    assert [row.purpose for row in rows].count("tune") == 6


def test_of_too_many_trials_the_races_and_the_fastest_configs_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gemmbench_results.report.web.trials.MOST_ROWS", 5)
    trials = [*searched("conv1", CONV1), trial("conv2", CONV2, blas("im2col"), 0.9)]
    rows = trial_rows(trials)
    assert len(rows) == 5
    assert rows[0].purpose == "race"
    assert all(row.state == "COMPLETE" for row in rows)
