"""The map of a made-up sweep is compared with tests/golden/crossover.txt and .md."""

from dataclasses import replace

import pytest
from example_trials import trial
from test_report_table import check_golden

from gemmbench.compare.sweeping import Swept, winning
from gemmbench.problem import Conv2d
from gemmbench.run_outcome import Outcome
from gemmbench.sweep import Axis, make_grid
from gemmbench.trial import Contender, TrialState
from gemmbench_results.report.crossover import (
    cell_of,
    crossover_data,
    crossover_text,
    over_products,
    wins,
)

BASE = Conv2d(1, 6, 27, 27, 12, (3, 3))
KINDS = ("plain", "prepared")


def race(point, problem, fft, product, prepared):
    label = " ".join(map(str, point))
    pairs = [(Contender("fft", "fft"), fft), (Contender("blas", "im2col"), product),
             (Contender("numba", "winograd", "prepared"), prepared),
             (Contender("numba", "fft", "prepared"), 0.02)]  # fmt: skip
    return [trial(label, problem, contender, seconds) for contender, seconds in pairs]


def swept():
    grid = make_grid(BASE, [Axis("kernel", (3, 5, 7)), Axis("groups", (1, 2, 5))])
    found = Swept(grid, Outcome(1), KINDS)
    times = {(3, 1): (0.03, 0.01, 0.01), (3, 2): (0.02, 0.01, 0.01), (7, 1): (0.01, 0.04, 0.04),
             (7, 2): (0.01, 0.0101, 0.01)}  # fmt: skip
    for point, seconds in times.items():
        found.trials[point] = race(point, grid.problems[point], *seconds)
        found.winners[point] = winning(found.trials[point], KINDS)
    found.inferred[5, 1] = "im2col/fft"
    found.late = [(5, 2)]
    return found


@pytest.mark.parametrize(("style", "ending"), [("table", "txt"), ("markdown", "md")])
def test_the_map_is_as_golden(style, ending):
    check_golden(f"crossover.{ending}", crossover_text(swept(), style) + "\n")


def test_a_sentence_tells_a_tie_from_what_is_undecided():
    found = swept()
    assert wins(found, "plain") == [
        "im2col wins at 2 of 4 measured points, most at kernel=3 groups=1 (3.00 times); "
        "ties for the lead at 1 point.",
        "fft wins at 1 of 4 measured points, most at kernel=7 groups=1 (4.00 times); "
        "ties for the lead at 1 point.",
    ]


def test_a_point_says_how_it_is_known():
    found = swept()
    kinds = {p: cell_of(found, p, "plain").kind for p in [(3, 1), (5, 1), (5, 2), (3, 5)]}
    assert kinds == {
        (3, 1): "winner", (5, 1): "inferred", (5, 2): "late", (3, 5): "left out",
    }  # fmt: skip
    assert cell_of(found, (5, 1), "prepared").leaders == ("fft",)
    assert cell_of(found, (3, 1), "plain").lead == pytest.approx(3.0)


def test_prepared_transforms_are_held_against_plain_products_where_there_are_no_others():
    trials = swept().trials[3, 1]
    assert over_products(trials, "fft", "plain") == pytest.approx(3.0)
    assert over_products(trials, "fft", "prepared") == pytest.approx(2.0)
    packed = trial("l", BASE, Contender("numba", "im2col", "prepared"), 0.005)
    assert over_products([*trials, packed], "fft", "prepared") == pytest.approx(4.0)
    broken = [replace(t, state=TrialState.WRONG) for t in trials]
    assert over_products(broken, "fft", "plain") is None


def test_the_json_has_every_point_once():
    data = crossover_data(swept())
    assert len(data["points"]) == 9
    states = [point["state"] for point in data["points"]]
    assert {state: states.count(state) for state in states} == {
        "measured": 4, "left out": 3, "inferred": 1, "late": 1,
    }  # fmt: skip
    measured = data["points"][0]
    assert measured["leaders"] == {"plain": ["im2col"], "prepared": ["winograd"]}
    assert len(measured["rows"]) == 4
