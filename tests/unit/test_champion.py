"""The winner over races of several days: what links them, and what does not."""

from collections.abc import Sequence
from dataclasses import replace

from gemmbench.champion import champion
from gemmbench.measurement import Measurement, Sample
from gemmbench.problem import Gemm
from gemmbench.space import Config
from gemmbench.trial import Contender, Trial, TrialState


def trial(
    backend: str, pace: float, config: Config | None = None, weights: str = "plain",
    state: TrialState = TrialState.COMPLETE, source: str = "x", peak: float | None = None,
    spread: float = 0.001,
) -> Trial:  # fmt: skip
    samples = tuple(
        Sample(pace * (1 + spread * (process + round_ % 3)), 1, process, round_)
        for process in range(3)
        for round_ in range(8)
    )
    contender = Contender(backend, "gemm", weights, config or {}, tuned=bool(config))
    problem = Gemm(8, 8, 8)
    return Trial(
        "s", "l", problem, contender, state, measurement=Measurement(samples), source_hash=source,
        peak_flops=peak,
    )  # fmt: skip


BOTH = [trial("numba", 1.0), trial("blas", 2.0)]


def names(*races: Sequence[Trial], weights: str = "plain", backend: str | None = None) -> list[str]:
    """Backend and verdict of the champion of races given the newest first, then who is unraced."""
    numbered = [(len(races) - at, race) for at, race in enumerate(races)]
    found = champion(numbered, weights, backend)
    assert found is not None
    return [found.trial.contender.backend, found.verdict, *found.unraced]


def test_nobody_timed_is_nobody() -> None:
    assert champion([], "plain") is None
    assert champion([(1, [trial("blas", 1.0, state=TrialState.WRONG)])], "plain") is None
    assert champion([(1, BOTH)], "prepared") is None


def test_a_newer_race_of_others_does_not_hide_the_winner() -> None:
    assert names(BOTH) == ["numba", "winner"]
    assert names([trial("numba", 3.0, weights="prepared")], BOTH) == ["numba", "winner"]
    assert names([trial("blas", 2.0)], BOTH) == ["numba", "winner"]
    found = champion([(2, [trial("blas", 2.0)]), (1, BOTH)], "plain")
    assert found is not None
    assert found.run == 1


def test_a_winner_holds_against_whom_it_beat_before() -> None:
    assert names([trial("numba", 5.0)], BOTH) == ["numba", "winner"], "the machine is slower today"
    assert names([trial("numba", 5.0)], [trial("numba", 2.0), trial("blas", 1.0)])[0] == "blas"


def test_a_winner_that_was_level_before_is_not_sure() -> None:
    level = [trial("numba", 1.0), trial("blas", 1.002)]
    assert names([trial("numba", 5.0)], level) == ["numba", "tie"]


def test_whom_the_holder_raced_is_judged_by_that_race_whatever_others_link() -> None:
    """By the median pace over both links fft would be at 0.93; beside blas it lost."""
    today = [trial("blas", 1.0), trial("numba", 1.1)]
    assert names(today, [trial("blas", 1.0), trial("numba", 1.4), trial("fft", 1.05)]) == [
        "blas", "winner",
    ]  # fmt: skip
    assert names(today, [trial("blas", 1.0), trial("numba", 0.7), trial("fft", 0.9)]) == [
        "fft", "winner",
    ]  # fmt: skip


def test_an_older_challenge_never_makes_a_verdict_surer() -> None:
    level = [trial("numba", 1.0), trial("blas", 1.002)]
    undecided = [trial("numba", 1.0), trial("blas", 1.02, spread=0.1)]
    assert names(undecided) == ["numba", "undecided"]
    assert names(undecided, [trial("numba", 1.0), trial("fft", 1.002)]) == ["numba", "undecided"]
    assert names(level, [trial("numba", 1.0), trial("fft", 0.5)]) == ["fft", "tie"]


def test_rivals_that_are_level_with_each_other_give_no_winner() -> None:
    today = [trial("numba", 2.0), trial("numba", 1.9, {"mr": 4})]
    assert names(today, [trial("numba", 9.0), trial("blas", 1.0), trial("fft", 1.002)]) == [
        "blas", "tie",
    ]  # fmt: skip


def test_an_older_rival_above_the_peak_does_not_surely_win() -> None:
    today = [trial("numba", 2.0), trial("numba", 1.9, {"mr": 4})]
    assert names(today, [trial("numba", 9.0), trial("blas", 1.0, peak=500.0)])[1] == "undecided"
    assert names([trial("numba", 2.0)], [trial("numba", 9.0), trial("blas", 1.0, peak=500.0)]) == [
        "blas", "undecided",
    ]  # fmt: skip


def test_what_is_less_exact_than_was_asked_for_takes_no_part() -> None:
    inexact = replace(trial("fft", 0.5), error_limit=1e-6, relative_error=1e-3)
    assert champion([(1, [inexact])], "plain") is None
    assert names([trial("numba", 1.0)], [trial("numba", 1.0), inexact]) == ["numba", "winner"]


def test_races_are_linked_by_what_ran_unchanged_in_both() -> None:
    """Tuned today, numba is 1.3 times as fast as its default, which lost to blas by a fifth."""
    today = [trial("numba", 2.0), trial("numba", 2.0 / 1.3, {"mr": 4})]
    assert names(today, [trial("numba", 1.2), trial("blas", 1.0)]) == ["numba", "undecided"]
    assert names(today, [trial("numba", 1.5), trial("blas", 1.0)]) == ["blas", "undecided"]
    assert names(today, [trial("numba", 9.0), trial("blas", 1.0)]) == ["blas", "winner"]


def test_what_no_race_links_is_compared_by_bare_times_and_named() -> None:
    alone = [trial("numba", 2.0)]
    assert names(alone, [trial("blas", 3.0)]) == ["numba", "undecided", "blas gemm"]
    assert names(alone, [trial("blas", 1.5)]) == ["blas", "undecided", "numba gemm"]
    assert names(alone, [trial("blas", 9.0)]) == ["numba", "winner", "blas gemm"]
    changed = [trial("numba", 1.0, source="y"), trial("blas", 3.0)]
    assert names(alone, changed) == ["numba", "undecided", "blas gemm"]
    assert names(alone, [trial("fft", 1.0)], [trial("blas", 1.5)]) == [
        "fft", "undecided", "numba gemm", "blas gemm",
    ]  # fmt: skip


def test_an_older_race_that_links_two_makes_bare_times_superfluous() -> None:
    assert names([trial("numba", 2.0)], [trial("blas", 1.0)], BOTH) == ["numba", "winner"]
    assert names([trial("numba", 2.0)], [trial("blas", 1.0)], backend="numba")[2:] == []


def test_a_backend_may_be_asked_for_alone() -> None:
    assert names([trial("numba", 1.0)], BOTH, backend="blas") == ["blas", "winner"]


def test_a_champion_says_which_other_runs_its_verdict_rests_on() -> None:
    def runs(*races: Sequence[Trial]) -> tuple[int, tuple[int, ...]]:
        found = champion([(len(races) - at, race) for at, race in enumerate(races)], "plain")
        assert found is not None
        return found.run, found.beside

    assert runs(BOTH) == (1, ())
    assert runs(BOTH, BOTH) == (2, ()), "whom the newest race had, no older one is asked about"
    assert runs([trial("blas", 2.0)], BOTH) == (1, (2,)), "the time is of the older race"
    assert runs([trial("numba", 1.0)], BOTH) == (2, (1,))
    assert runs([trial("fft", 9.0)], BOTH) == (1, (2,)), "and where nothing links the two"
