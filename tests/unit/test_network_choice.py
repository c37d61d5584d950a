"""Which backends may take part in a pass, by what they say of themselves."""

import pytest
from example_trials import MACHINE

from gemmbench import network_choice
from gemmbench.errors import GemmbenchError
from gemmbench.network_choice import Arena, usable
from gemmbench.problem import Linear
from gemmbench.run_options import RunOptions
from gemmbench.trial import Contender, Environment, RaceProtocol, Trial, TrialState


@pytest.fixture
def asked(monkeypatch):
    """A call of `usable` on backends that answer as given: its hashes and its notes."""

    def ask(replies, *named):
        monkeypatch.setattr(network_choice, "installed_backends", lambda: dict.fromkeys(replies))
        monkeypatch.setattr(network_choice, "locate_backend", lambda spec: None)
        monkeypatch.setattr(
            network_choice,
            "describe",
            lambda spec, *_: {"unavailable": None, "source_hash": spec, **replies[spec]},
        )
        notes = []
        options = RunOptions(backends=named)
        return usable(Linear(1, 2, 3), options, RaceProtocol(), MACHINE, notes), notes

    return ask


def test_whoever_cannot_be_in_a_pass_is_left_out_and_it_is_said_why(asked):
    hashes, notes = asked(
        {
            "blas": {},
            "alone": {"exclusive": True},
            "card": {"device": "a GPU"},
            "gone": {"exclusive": True, "unavailable": "not installed. pip install gone"},
        }
    )
    assert hashes == {"blas": "blas"}
    assert notes == [
        "left out: alone (its library may not share a process; name it to use)",
        "left out: card (it computes on a GPU, and a pass hands on arrays of the host)",
        "left out: gone (not installed. pip install gone)",
    ]


def test_a_pass_that_nobody_can_be_in_is_refused_before_anybody_races(asked):
    with pytest.raises(GemmbenchError, match="no installed backend can be in a pass"):
        asked({"gone": {"unavailable": "not installed"}, "alone": {"exclusive": True}})


def test_one_backend_that_shares_with_no_other_may_be_named(asked):
    replies = {"blas": {}, "alone": {"exclusive": True}, "too": {"exclusive": True}}
    assert list(asked(replies, "blas", "alone")[0]) == ["blas", "alone"]
    with pytest.raises(GemmbenchError, match="alone and too each bring a library"):
        asked(replies, "alone", "too")


def test_a_stored_winner_must_be_as_it_was_and_need_nothing_of_its_own():
    arena = Arena(RunOptions(), RaceProtocol(), MACHINE, None, {"blas": "as it is"})

    def fits(source_hash="as it is", backend="blas", environment=None):
        one = Contender(backend, "gemm", environment=environment or Environment())
        problem = Linear(1, 2, 3)
        return arena.fits(
            Trial("s", "fc", problem, one, TrialState.COMPLETE, source_hash=source_hash)
        )

    assert fits()
    assert not fits("as it was")
    assert not fits(backend="numba")
    assert not fits(environment=Environment("/other/python"))
    assert not fits(environment=Environment(variables=(("OPENBLAS_CORETYPE", "Prescott"),)))
