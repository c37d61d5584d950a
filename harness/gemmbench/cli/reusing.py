"""What `gemmbench compare --reuse` takes from the store instead of measuring it."""

from dataclasses import replace
from typing import TYPE_CHECKING

from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.cli.given import Asked
    from gemmbench.compare.reuse import OfferKey, OfferKeys
    from gemmbench.problem import Conv2d
    from gemmbench.run_options import RunOptions
    from gemmbench.space import Config
    from gemmbench.trial import Trial
    from gemmbench_results.store import Store

Taken = dict[str, tuple[int, "list[Trial]"]]  # of a layer: the run, and its trials
SETTINGS = ("fill", "cache")  # what a contender is raced against itself under


def check_reuse(by: str, sweeps: tuple[str, ...], tune: str, batch_lowering: str) -> None:
    """Raise GemmbenchError for what `--reuse` cannot take from an earlier race."""
    if sweeps or by in SETTINGS:
        raise GemmbenchError(
            "--reuse: goes with --by algorithm, backend or contender, and without --sweep. "
            "Leave it out to measure."
        )
    if tune not in ("stored", "never"):
        raise GemmbenchError(
            f"--reuse: --tune {tune} searches, which is measured afresh. Leave one of them out."
        )
    if batch_lowering != "per-image":
        raise GemmbenchError(
            f"--reuse: --batch-lowering {batch_lowering} is raced afresh. Leave one of them out."
        )


def stored(store: "Store", asked: "Asked", options: "RunOptions") -> Taken:
    """Of each layer that was raced before, just as it would be now, the run and its trials."""
    from gemmbench.compare.reuse import offered_now, reusable
    from gemmbench.compare.side_by_side import convolutions
    from gemmbench.problem import Conv2d
    from gemmbench.trial import TrialState

    found: Taken = {}
    for layer in convolutions(asked.suites[0]).layers:
        problem = layer.problem
        races = list(store.races(asked.machine, asked.protocol, problem))
        if not races or not isinstance(problem, Conv2d):
            continue
        offered = offered_now(options, asked.protocol, asked.machine, problem)
        race = reusable(races, offered, stored_winners(store, asked, options, problem, offered))
        if race is not None:
            # A layer may have had another name then.
            own = [
                replace(trial, layer=layer.name, suite=asked.suites[0].name)
                for trial in race[1]
                if trial.state is not TrialState.SKIPPED or options.tells(trial.contender.algorithm)
            ]
            found[layer.name] = (race[0], own)
    return found


def stored_winners(
    store: "Store", asked: "Asked", options: "RunOptions", problem: "Conv2d", offered: "OfferKeys"
) -> "dict[OfferKey, Config] | None":
    """The config that would be raced of what is offered, where a search found one.

    None where defaults are raced.
    """
    from gemmbench.trial import Contender

    if options.tune == "never":
        return None
    found = {
        offer: store.best_config(
            asked.machine, asked.protocol, problem, Contender(*offer[:3]), offer[3]
        )
        for offer in offered
    }
    return {offer: config for offer, config in found.items() if config is not None}
