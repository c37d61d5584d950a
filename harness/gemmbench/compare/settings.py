"""Settings: every contender under several fills, or hot and cold, in the same rounds."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from gemmbench.machine import Machine
from gemmbench.race import Race, Setting, run_race
from gemmbench.reference import Cases
from gemmbench.runner import Runner
from gemmbench.stats import Effect
from gemmbench.stats import compare as effect_of
from gemmbench.suite import Layer, Suite
from gemmbench.trial import RaceProtocol, Trial

FILLS = ("uniform", "zeros", "integers", "denormal")  # the first is what others are held against
CACHES = ("hot", "cold")

SettingBy = Literal["fill", "cache"]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A contender under one setting against itself under the first one."""

    layer: str
    base: Trial
    other: Trial
    setting: str
    effect: Effect | None  # ln of how many times longer the other takes; None if not timed


def settings_of(by: SettingBy, protocol: RaceProtocol, cold_bytes: int) -> dict[str, RaceProtocol]:
    """The protocol of each setting that is raced, the base first."""
    if by == "fill":
        return {name: replace(protocol, fill=name) for name in FILLS}
    sizes = {"hot": 0, "cold": cold_bytes}
    return {name: replace(protocol, cache=name, cold_bytes=sizes[name]) for name in CACHES}


def race_settings(
    suite: Suite,
    layer: Layer,
    runner: Runner,
    settings: Mapping[str, RaceProtocol],
    seconds: float,
    record: Callable[[str, Trial], None],
) -> list[Ratio]:
    """Every contender of one layer under each setting, in the same rounds, and the ratios.

    Whatever is slow stays to the end: how slow it is under a setting is the question. `record`
    gets each trial with the setting it was raced under, when the layer is done.
    """
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="gemmbench-") as folder,
        runner.arena(suite, layer, seconds) as race,
    ):
        contenders = [
            contender
            for spec in runner.options.specs()
            for contender in runner.contenders(race, spec, seconds)
        ]
        first = next(iter(settings.values()))
        base = Cases(layer.problem, Path(folder), first.fill, first.seed)
        cases = {
            name: base if own.fill == first.fill else base.filled(own.fill)
            for name, own in settings.items()
        }
        own_race: Race = replace(
            race,
            spec=replace(race.spec, contenders=tuple(contenders)),
            limits=replace(race.limits, seconds=max(0, seconds + started - time.monotonic())),
            settings=tuple(Setting(n, cases[n], p) for n, p in settings.items()),
            memory=None,  # one bandwidth does not fit hot and cold operands
        )
        trials = run_race(own_race)
    names, ratios = list(settings), list[Ratio]()
    for at in range(0, len(trials), len(names)):
        raced = dict(zip(names, trials[at : at + len(names)], strict=True))
        for name, trial in raced.items():
            record(name, trial)
        ratios += ratios_of(layer.name, raced)
    return ratios


def ratios_of(layer: str, raced: Mapping[str, Trial]) -> list[Ratio]:
    """One contender under each setting but the first, against itself under that."""
    (_, base), *others = raced.items()
    return [
        Ratio(layer, base, other, name, effect_of(base.measurement, other.measurement))
        for name, other in others
    ]


def coldness(ratio: Ratio, machine: Machine, enough: float) -> str:
    """Whether a cold trial was: 'cold', 'larger than the caches', 'not proven' or 'unknown'."""
    found = ratio.other.cold_ratio
    if found is None:
        return "unknown"
    if found >= enough:
        return "cold"
    caches = machine.l2_bytes + machine.l3_bytes
    return (
        "larger than the caches" if ratio.other.problem.minimal_bytes() > caches else "not proven"
    )
