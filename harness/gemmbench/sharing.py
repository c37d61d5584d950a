"""Leading configs measured on the other layers too, so that a few can be found that serve all."""

import time
from collections.abc import Sequence
from dataclasses import replace

from gemmbench.offers import NoOfferError, Offer
from gemmbench.problem import Problem
from gemmbench.race import Race
from gemmbench.runner import Runner
from gemmbench.space import Config
from gemmbench.suite import Layer, Suite
from gemmbench.tune.portfolio import leaders
from gemmbench.tune.strategies import make_strategy
from gemmbench.tune.tuner import Tuner, tuning_limits


def share(
    runner: Runner,
    layers: Sequence[tuple[Suite, Layer]],
    problems: Sequence[Problem],
    deadline: float,
) -> None:
    """Measure on each layer what leads on the others, as far as there is time."""
    for position, (suite, layer) in enumerate(layers):
        seconds = (deadline - time.monotonic()) / (len(layers) - position)
        if seconds <= 0:
            return
        runner.watcher.layer(suite.name, layer.name, position, len(layers))
        specs, late = runner.options.specs(), time.monotonic() + seconds
        with runner.arena(suite, layer, seconds) as race:
            for at, spec in enumerate(specs):
                left = max(late - time.monotonic(), 0) / (len(specs) - at)
                limits = replace(race.limits, seconds=left)
                share_leaders(runner, replace(race, limits=limits), spec, problems)


def share_leaders(runner: Runner, race: Race, spec: str, problems: Sequence[Problem]) -> None:
    """Measure with `spec` what leads on any of `problems` and was not measured here yet."""
    runner.watcher.step(f"trying what leads elsewhere with {spec}")
    try:
        offered = runner.offers.of(spec, race.spec.problem, race.limits)
    except NoOfferError:
        return  # it was recorded when the layer was run
    offers = [offer for offer in offered.offers if offer.space is not None]
    for offer in offers:
        limits = replace(race.limits, seconds=race.limits.seconds / len(offers))
        visit_leaders(runner, replace(race, limits=limits, roof=None), offer, problems)


def visit_leaders(runner: Runner, race: Race, offer: Offer, problems: Sequence[Problem]) -> None:
    """Measure the leaders on `problems` that are in this problem's space.

    The default and this problem's own leader come first, which link their pace to the search's.
    """
    found = runner.recorder.evaluations(runner.machine, race.spec.protocol, offer.contender)
    own = [e for e in found if e.here and e.source_hash == offer.source_hash]
    known = [e.config for e in own if e.problem == race.spec.problem]
    space = offer.space
    if space is None:
        return
    missing = [c for c in leaders(own, problems) if c not in known and c in space]
    links: list[Config] = [dict(space.default)]
    links += [c for c in leaders(own, [race.spec.problem])[:1] if c not in links]
    if missing:
        strategy = make_strategy("exhaustive", space, 0)
        limits = tuning_limits(race.limits.seconds, race.limits)
        arena = replace(race, limits=limits)
        tuner = Tuner(
            arena, offer.contender, strategy, len(missing), runner.record, purpose="share"
        )
        tuner.visit([*(c for c in links if c in known), *missing])
