"""The winner over races of several days: what links them, and what does not."""

from collections.abc import Sequence

from gemmbench.champion import champion
from gemmbench.measurement import Measurement, Sample
from gemmbench.problem import Gemm
from gemmbench.space import Config
from gemmbench.trial import Contender, Trial, TrialState


def trial(
    backend: str, pace: float, config: Config | None = None, weights: str = "plain",
    state: TrialState = TrialState.COMPLETE, source: str = "x",
) -> Trial:  # fmt: skip
    samples = tuple(
        Sample(pace * (1 + 0.001 * (process + round_ % 3)), 1, process, round_)
        for process in range(3)
        for round_ in range(8)
    )
    contender = Contender(backend, "gemm", weights, config or {}, tuned=bool(config))
    problem = Gemm(8, 8, 8)
    return Trial(
        "s", "l", problem, contender, state, measurement=Measurement(samples), source_hash=source
    )


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
