"""What backends offer, from made-up replies of theirs."""

import pytest
from example_trials import CONV1, MACHINE

from gemmbench.offers import NoOfferError, Offers
from gemmbench.race import Limits
from gemmbench.run_options import RunOptions
from gemmbench.trial import RaceProtocol

REPLY = {
    "unavailable": None,
    "unsupported": None,
    "source_hash": "h",
    "offers": [{"algorithm": "im2col", "weights": "plain", "space": None}],
    "declined": {"winograd": "winograd wants even images"},
}


def offered(**options):
    asking = Offers(RunOptions(**options), RaceProtocol(threads=1), MACHINE, {("x", CONV1): REPLY})
    return asking.of("x", CONV1, Limits(0, 60.0))


def test_what_is_declined_is_told_where_it_is_asked_for_by_name_or_altogether():
    assert offered().declined == {}
    assert offered(declined=True).declined == REPLY["declined"]
    assert offered(algorithms=("im2col",), declined=True).declined == {}
    assert offered(algorithms=("im2col", "winograd")).declined == REPLY["declined"]


def test_a_backend_without_an_offer_says_what_it_offers_or_why_not_what_was_named():
    with pytest.raises(NoOfferError, match="offers only im2col plain"):
        offered(weights=("prepared",), declined=True)
    with pytest.raises(NoOfferError, match="even images"):
        offered(algorithms=("winograd",))
