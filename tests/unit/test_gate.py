"""The gate's statistics on constructed samples; verdicts are bracketed at each edge."""

from dataclasses import replace
from math import expm1, inf, isnan, log1p, nextafter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemmbench.comparison import GateVerdict
from gemmbench.gate import (
    CONFIRMING_LEVEL,
    CONFIRMING_LOOKS,
    FAMILY_LEVEL,
    LAYER_LEVEL,
    LOOKS,
    SPENDING,
    Reading,
    Screening,
    Suspects,
    Thresholds,
    confirm,
    confirmed,
    confirming_level,
    final_reading,
    first_level,
    flagged,
    holm,
    judge,
    look_at,
    read,
    screen,
    smallest_visible,
)

THRESHOLDS = Thresholds()
LEAST, MOST = log1p(0.01), log1p(0.05)
LEVEL = LAYER_LEVEL


def reading(estimate: float, high: float = 0.2, low: float = 0.001) -> Reading:
    return Reading(10, estimate, low, high, 0.01, 0.0, 1.0, 0.2)


def verdict(estimate: float, high: float = 0.2, slower: bool = True, faster: bool = True) -> str:
    return judge(reading(estimate, high), THRESHOLDS, slower=slower, faster=faster)


def test_a_slowdown_counts_from_the_least_effect_on() -> None:
    assert verdict(nextafter(LEAST, 1)) == "REGRESSED"
    assert verdict(LEAST) == "UNDECIDED"


def test_a_slowdown_that_is_not_certain_is_no_regression() -> None:
    assert verdict(0.1, slower=False) == "UNDECIDED"


def test_no_regression_is_shown_with_an_interval_that_holds_zero() -> None:
    for low, expected in ((nextafter(0.0, 1), "REGRESSED"), (0.0, "UNDECIDED")):
        one = reading(0.1, low=low)
        assert judge(one, THRESHOLDS, slower=True, faster=False) == expected


def test_what_is_confirmed_and_counts_is_never_ok() -> None:
    one = reading(0.02, high=0.04, low=-0.001)
    assert judge(one, THRESHOLDS, slower=True, faster=False) == "UNDECIDED"
    assert judge(one, THRESHOLDS, slower=False, faster=False) == "OK"


def test_a_speedup_counts_from_the_least_effect_on() -> None:
    assert verdict(nextafter(-LEAST, -1)) == "IMPROVED"
    assert verdict(-LEAST) == "UNDECIDED"
    assert verdict(-0.1, faster=False) == "UNDECIDED"


def test_ok_needs_the_upper_bound_below_the_largest_regression() -> None:
    assert verdict(0.0, high=nextafter(MOST, 0)) == "OK"
    assert verdict(0.0, high=MOST) == "UNDECIDED"


def test_regressed_goes_before_ok_and_improved_too() -> None:
    assert verdict(0.02, high=0.03) == "REGRESSED"
    assert verdict(-0.02, high=-0.01) == "IMPROVED"


def test_the_layer_may_have_thresholds_of_its_own() -> None:
    loose = Thresholds(0.04, 0.3)
    assert judge(reading(0.03), loose, slower=True, faster=False) == "OK"
    assert judge(reading(0.05), loose, slower=True, faster=False) == "REGRESSED"


def samples(mean: float, t: float, n: int = 5) -> list[float]:
    """n values with that mean, whose t statistic is `t`."""
    spread = np.linspace(-1, 1, n)
    error = float(np.std(spread, ddof=1)) / n**0.5
    return [float(v) for v in mean + spread * (mean / t) / error]


def test_it_is_flagged_exactly_where_its_lower_bound_at_the_level_is_above_zero() -> None:
    from scipy.stats import t as student

    critical = float(student.isf(LEVEL * SPENDING[0], 4))
    for t, expected in ((1.001 * critical, True), (0.999 * critical, False)):
        found = look_at(Screening(), samples(0.05, t))
        assert flagged(found, LEVEL, THRESHOLDS) is expected


@pytest.mark.parametrize(("mean", "expected"), [(1.01 * LEAST, True), (0.99 * LEAST, False)])
def test_it_is_flagged_only_beyond_the_least_effect(mean: float, expected: bool) -> None:
    assert flagged(look_at(Screening(), samples(mean, 1e6)), LEVEL, THRESHOLDS) is expected


FLAGGED = look_at(Screening(), samples(0.05, 100))


@pytest.mark.parametrize(
    ("confirming", "expected"),
    [
        (samples(0.05, 2.79), True),  # t of four degrees of freedom: 2.776 at 2.5 %
        (samples(0.05, 2.76), False),
        (samples(0.05, 2.27, 10), True),  # and of nine: 2.262
        (samples(0.05, 2.25, 10), False),
        (samples(1.01 * LEAST, 50), True),
        (samples(0.99 * LEAST, 50), False),
        ([0.05] * 5, True),
        ([0.05] * 4, False),  # fewer than a look
        ([], False),
    ],
)
def test_a_flag_is_confirmed_by_the_new_pairs_alone(
    confirming: list[float], expected: bool
) -> None:
    found = replace(FLAGGED, confirming=tuple(confirming))
    assert confirmed(found, THRESHOLDS) is expected
    assert final_reading(found).pairs == 5 + len(confirming)


class Tape:
    """Hands out values in order and counts how many were asked for."""

    def __init__(self, values: list[float]) -> None:
        self.values = values
        self.asked: list[int] = []

    def take(self, n: int) -> list[float]:
        self.asked.append(n)
        taken, self.values = self.values[:n], self.values[n:]
        return taken


def alternating(mean: float, spread: float, n: int = 40) -> list[float]:
    return [mean + spread * (-1) ** i for i in range(n)]


def test_new_pairs_that_confirm_at_once_are_enough() -> None:
    tape = Tape(samples(0.05, 2.79) + [0.0] * 5)
    found = confirm(FLAGGED, tape.take, THRESHOLDS)
    assert (tape.asked, confirmed(found, THRESHOLDS)) == ([CONFIRMING_LOOKS[0]], True)


@pytest.mark.parametrize(("mean", "expected"), [(0.06, True), (0.0, False)])
def test_new_pairs_that_do_not_confirm_are_joined_by_more_and_then_it_is_over(
    mean: float, expected: bool
) -> None:
    tape = Tape(samples(0.05, 2.76) + samples(mean, 20) * 3)
    found = confirm(FLAGGED, tape.take, THRESHOLDS)
    assert tape.asked == [5, 5]
    assert len(found.confirming) == CONFIRMING_LOOKS[-1]
    assert confirmed(found, THRESHOLDS) is expected


def test_confirming_ends_where_no_more_pairs_come() -> None:
    tape = Tape([0.1, 0.0, 0.05])
    found = confirm(FLAGGED, tape.take, THRESHOLDS)
    assert (tape.asked, found.confirming) == ([5], (0.1, 0.0, 0.05))
    assert not confirmed(found, THRESHOLDS)


@given(st.lists(st.floats(-0.1, 0.2), min_size=10, max_size=10))
def test_a_flag_is_confirmed_exactly_where_some_look_at_the_new_pairs_says_so(
    values: list[float],
) -> None:
    found = confirm(FLAGGED, Tape(list(values)).take, THRESHOLDS)
    looks = [replace(FLAGGED, confirming=tuple(values[:n])) for n in CONFIRMING_LOOKS]
    says_so = [confirmed(one, THRESHOLDS) for one in looks]
    assert confirmed(found, THRESHOLDS) is any(says_so)
    first = says_so.index(True) if any(says_so) else -1
    assert len(found.confirming) == CONFIRMING_LOOKS[first]


@pytest.mark.parametrize("spread", [0.02, 0.5])
def test_looks_at_the_new_pairs_pass_identical_code_within_their_level(spread: float) -> None:
    rng, times = np.random.default_rng(9), 1500
    passed = sum(
        confirmed(confirm(FLAGGED, lambda n: list(spread * rng.normal(size=n)), anything), anything)
        for anything in [Thresholds(0.0)] * times
    )
    assert passed <= (CONFIRMING_LEVEL + 0.011) * times  # two deviations of so many tosses
    assert passed >= confirming_level() / 2 * times


def test_identical_code_takes_one_look() -> None:
    tape = Tape(alternating(0.0, 0.003))
    found = screen(tape.take, LEVEL, THRESHOLDS)
    assert (tape.asked, found.looks) == ([LOOKS[0]], 1)


def test_what_is_plainly_slower_takes_one_look() -> None:
    tape = Tape(alternating(0.10, 0.003))
    assert flagged(screen(tape.take, LEVEL, THRESHOLDS), LEVEL, THRESHOLDS)
    assert tape.asked == [LOOKS[0]]


def test_what_seems_slower_but_not_surely_is_pursued_though_it_would_pass() -> None:
    tape = Tape(alternating(0.015, 0.012))
    found = screen(tape.take, LEVEL, THRESHOLDS)
    assert tape.asked[:2] == [5, 5]
    assert final_reading(found).high < MOST


def test_what_is_undecided_gets_all_pairs() -> None:
    tape = Tape(alternating(0.0, 0.3))
    found = screen(tape.take, LEVEL, THRESHOLDS)
    assert tape.asked == [5, 5, 10]
    assert not flagged(found, LEVEL, THRESHOLDS)


def test_it_ends_where_no_more_pairs_come() -> None:
    found = screen(Tape(alternating(0.0, 0.3, 7)).take, LEVEL, THRESHOLDS)
    assert (len(found.values), found.looks) == (7, 2)
    nothing = screen(Tape([]).take, LEVEL, THRESHOLDS)
    assert isnan(final_reading(nothing).estimate)


def test_nothing_measured_is_undecided() -> None:
    for values in ([], [0.0]):
        one = read(values, 1.0)
        assert judge(one, THRESHOLDS, slower=False, faster=False) is GateVerdict.UNDECIDED


def test_pairs_that_all_read_the_same_are_certain() -> None:
    assert read([0.02] * 5, 1.0).p_slower == 0.0
    assert read([-0.02] * 5, 1.0).p_slower == 1.0
    assert read([0.0] * 5, 1.0).p_slower == 0.5


def test_the_shares_of_a_level_add_up_to_it() -> None:
    assert sum(SPENDING) == pytest.approx(1.0)
    assert len(SPENDING) == len(LOOKS) + 1
    assert list(LOOKS) == sorted(set(LOOKS))


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=20), st.floats(0.05, 1))
def test_the_interval_holds_its_estimate_and_widens_as_less_is_spent(
    values: list[float], share: float
) -> None:
    one, less = read(values, share), read(values, share / 2)
    assert one.low <= one.estimate <= one.high
    assert less.low <= one.low
    assert less.high >= one.high


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=20))
def test_slower_and_faster_are_mirror_images(values: list[float]) -> None:
    one, mirrored = read(values, 0.4), read([-v for v in values], 0.4)
    assert mirrored.estimate == pytest.approx(-one.estimate)
    assert mirrored.p_slower == pytest.approx(one.p_faster, abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_at_least_what_bonferroni_does_and_never_above_the_level(
    p_values: list[float],
) -> None:
    rejected = holm(p_values)
    bonferroni = {i for i, p in enumerate(p_values) if p <= first_level(len(p_values))}
    assert bonferroni <= rejected
    assert all(p_values[i] <= LAYER_LEVEL for i in rejected)


def test_holm_steps_down() -> None:
    layers = 10
    assert first_level(layers) == pytest.approx(FAMILY_LEVEL / layers)
    second = FAMILY_LEVEL / (layers - 1)
    p_values = [0.001, second, *[0.5] * 8]
    assert holm(p_values) == {0, 1}
    assert holm([0.5, nextafter(second, 1), *[0.5] * 8]) == set()
    assert holm([0.001], layers) == {0}


def test_a_layer_that_only_a_later_step_flags_is_found_late() -> None:
    suspects = Suspects(10)
    for i in range(10):
        suspects.found[i] = Screening((0.05,) * 5, 1, p_slower=0.5)
    suspects.found[3] = Screening((0.05,) * 5, 1, p_slower=0.0001)
    suspects.found[7] = Screening((0.05,) * 5, 1, p_slower=FAMILY_LEVEL / 9.5)
    assert list(suspects.late([THRESHOLDS] * 10)) == [7]
    suspects.found[3] = Screening((0.05,) * 5, 1, p_slower=0.5)
    assert list(suspects.late([THRESHOLDS] * 10)) == []


def test_more_pairs_and_less_spread_see_smaller_effects() -> None:
    few = smallest_visible(read(alternating(0, 0.02, 6), 0.2), LEVEL, THRESHOLDS)
    many = smallest_visible(read(alternating(0, 0.02, 20), 0.2), LEVEL, THRESHOLDS)
    calm = smallest_visible(read(alternating(0, 0.0001, 6), 0.2), LEVEL, THRESHOLDS)
    assert few > many > calm > LEAST
    assert calm == pytest.approx(LEAST, abs=0.0002)
    assert smallest_visible(read([0.1], 1.0), LEVEL, THRESHOLDS) == inf


def play(rng: np.random.Generator, effect: float, spread: float) -> tuple[str, Reading]:
    def take(n: int) -> list[float]:
        return list(log1p(effect) + spread * rng.normal(size=n))

    level = first_level(1)
    found = screen(take, level, THRESHOLDS)
    if flagged(found, level, THRESHOLDS):
        found = confirm(found, take, THRESHOLDS)
    one = final_reading(found)
    slower = confirmed(found, THRESHOLDS)
    return judge(one, THRESHOLDS, slower=slower, faster=found.p_faster <= level), one


@pytest.mark.parametrize("look", range(len(LOOKS)))
@pytest.mark.parametrize("spread", [0.0005, 0.003, 0.01, 0.03])
def test_the_smallest_visible_effect_is_a_regression_nine_times_in_ten(
    spread: float, look: int
) -> None:
    like = np.resize([-1.0, 1.0], LOOKS[look])
    one = read(list(spread * like / np.std(like, ddof=1)), SPENDING[look])
    effect = expm1(smallest_visible(one, first_level(1), THRESHOLDS))
    rng = np.random.default_rng(8)
    hits = sum(play(rng, effect, spread)[0] == "REGRESSED" for _ in range(200))
    assert hits >= 0.9 * 200


def test_the_confirmation_limits_what_can_be_seen_where_screening_is_sure() -> None:
    like = np.resize([-1.0, 1.0], 1000)
    many = smallest_visible(read(list(0.2 * like), 1.0), LEVEL, THRESHOLDS)
    alone = confirming_level()
    from scipy.stats import t as student

    needed = student.isf(alone, 9) + student.ppf(1 - 0.1 / 3, 9)
    assert many == pytest.approx(0.2 * needed / 10**0.5, rel=0.01)


def test_the_intervals_that_any_look_may_end_with_spend_the_level_together() -> None:
    ended = [
        Screening((0.01, 0.02) * (pairs // 2 + 1), look + 1) for look, pairs in enumerate(LOOKS)
    ]
    flagged_then = [
        replace(one, confirming=(0.01,) * pairs) for one in ended for pairs in CONFIRMING_LOOKS
    ]
    spent = sum(final_reading(one).share for one in (*ended, *flagged_then))
    assert spent == pytest.approx(1.0)


@pytest.mark.parametrize("spread", [0.005, 0.012, 0.03])
def test_identical_code_is_called_slower_in_less_than_one_per_cent(spread: float) -> None:
    rng = np.random.default_rng(5)
    verdicts = [play(rng, 0.0, spread)[0] for _ in range(400)]
    assert verdicts.count("REGRESSED") <= 0.01 * 400


@pytest.mark.parametrize(("effect", "spread"), [(0.02, 0.006), (0.05, 0.026), (0.10, 0.04)])
def test_real_slowdowns_are_seen_and_their_intervals_hold_them(
    effect: float, spread: float
) -> None:
    rng = np.random.default_rng(6)
    plays = [play(rng, effect, spread) for _ in range(300)]
    assert sum(v == "REGRESSED" for v, _ in plays) >= 0.95 * 300
    covered = sum(expm1(one.low) <= effect <= expm1(one.high) for _, one in plays)
    assert covered >= 0.95 * 300


def test_without_looks_that_are_paid_for_the_alarms_would_be_many() -> None:
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(300):
        values = 0.03 * rng.normal(size=20)
        alarms += any(read(list(values[:n]), 1.0).p_slower <= 0.05 for n in LOOKS)
    assert alarms > 0.05 * 300


def test_the_looks_at_new_pairs_share_one_level_and_each_has_pairs_enough_for_an_interval() -> None:
    assert confirming_level() * len(CONFIRMING_LOOKS) == pytest.approx(CONFIRMING_LEVEL)
    assert list(CONFIRMING_LOOKS) == sorted(set(CONFIRMING_LOOKS))
    assert CONFIRMING_LOOKS[0] >= 2
