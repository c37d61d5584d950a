"""The sentences under the table: what won where, what tuning gained, what to try next."""

from collections.abc import Mapping, Sequence
from shlex import quote
from statistics import median

from gemmbench.problem import Gemm
from gemmbench.ranking import may_win
from gemmbench.stats import ONE_PROCESS_EFFECT, Verdict
from gemmbench.trial import Trial, TrialState, readable
from gemmbench_results.report.standing import (
    ContenderKey,
    Standing,
    contender_key,
    fraction_of_peak,
    layers_of,
    standings,
    summary_of,
)

LISTED_LAYERS = 6  # longer lists become a count
FAR_FROM_PEAK = 0.5  # below half of the peak a longer search often pays
LONG_BUDGET = 300  # seconds

# One that would have won but for being faster than the machine's peak.
DOUBTFUL = "{} leads on {}, faster than the peak allows and so not believed"

Layers = Mapping[str, Sequence[Standing]]


def plain_sentences(
    trials: Sequence[Trial],
    verdicts: Mapping[str, Sequence[Verdict]],
    *,
    suite: str | None = None,
    options: str = "",
) -> list[str]:
    """What won where, what could not be ranked, what tuning gained and what to try next.

    Each only if there is something to say. `suite` is what the user typed to name the suite
    (default: the name in the trials), for the command that is suggested, and `options` what else
    it needs to race the same again, each word after a space.
    """
    if not trials:
        return []
    layers = standings(trials, verdicts)
    run = f"gemmbench run {quote(suite or trials[0].suite)}{options}"
    sentences = (
        _sentence(_winners(layers)),
        _unranked(layers),
        _sentence(_tuning(trials)),
        _next(layers, run),
    )
    return [sentence for sentence in sentences if sentence]


def winner_clauses(trials: Sequence[Trial], verdicts: Mapping[str, Sequence[Verdict]]) -> list[str]:
    """What won where, in clauses such as 'numba im2col is fastest on conv1 and conv2'."""
    return _winners(standings(trials, verdicts))


def other_sentences(
    trials: Sequence[Trial], verdicts: Mapping[str, Sequence[Verdict]]
) -> list[str]:
    """What could not be ranked and what tuning gained; each only if there is something to say."""
    found = (_unranked(standings(trials, verdicts)), _sentence(_tuning(trials)))
    return [sentence for sentence in found if sentence]


def result_sentences(
    trials: Sequence[Trial], verdicts: Mapping[str, Sequence[Verdict]]
) -> list[str]:
    """What won where, and what could not be ranked; each only if there is something to say."""
    layers = standings(trials, verdicts)
    found = (_sentence(_winners(layers)), _unranked(layers))
    return [sentence for sentence in found if sentence]


def _sentence(clauses: Sequence[str]) -> str:
    """As 'numba is fastest on conv1; blas and numba tie on fc6.'; '' of none."""
    return f"{'; '.join(clauses)}." if clauses else ""


def _winners(layers: Layers) -> list[str]:
    """As 'numba im2col is fastest on conv1 and conv2', 'blas gemm and numba gemm tie on fc6'."""
    wins: dict[tuple[str, str], list[str]] = {}
    alone: set[str] = set()
    for name, layer in layers.items():
        marked = {(s.mark, s.trial.contender.weights) for s in layer if s.mark}
        for mark, weights in sorted(marked):
            leaders = [s for s in layer if (s.mark, s.trial.contender.weights) == (mark, weights)]
            who = _listed([readable(s.trial.contender.label()) for s in leaders])
            wins.setdefault((mark, who), []).append(name)
            alone |= {who} if len(leaders) == 1 else set()
    verb = {
        "winner": "{} is fastest on {}",
        "tie": "{} tie on {}",
        "undecided": "between {} it is undecided on {}",
    }
    order = sorted(wins, key=lambda key: list(verb).index(key[0]))
    return [
        (DOUBTFUL if mark == "undecided" and who in alone else verb[mark]).format(
            who, _named(wins[mark, who], len(layers))
        )
        for mark, who in order
    ]


def _unranked(layers: Layers) -> str:
    bad = [
        f"{readable(s.trial.contender.label()).strip()} on {name} ({s.trial.state})"
        for name, layer in layers.items()
        for s in layer
        if s.trial.state in (TrialState.WRONG, TrialState.FAILED)
    ]
    return f"Not ranked: {_listed(bad)}." if bad else ""


def _tuning(trials: Sequence[Trial]) -> list[str]:
    """As 'Tuning made numba 1.2 times as fast in the median of 5 layers, most on conv2 (1.6)'."""
    gains: dict[str, list[tuple[float, str]]] = {}
    for name, layer in layers_of(trials).items():
        for key, (default, tuned) in _default_and_tuned(layer).items():
            gains.setdefault(key[0], []).append((default / tuned, name))
    clauses = []
    for backend, found in gains.items():
        most, where = max(found)
        if most < 1 + ONE_PROCESS_EFFECT:
            clauses.append(
                f"tuning gained {backend} less than {100 * ONE_PROCESS_EFFECT:.0f} % on any layer"
            )
            continue
        layers = "layer" if len(found) == 1 else f"median of {len(found)} layers"
        middle = median(gain for gain, _ in found)
        detail = "" if len(found) == 1 else f", most on {where} ({most:.2f})"
        clauses.append(f"tuning made {backend} {middle:.2f} times as fast in the {layers}{detail}")
    return [clause.replace("tuning", "Tuning", 1) for clause in clauses[:1]] + clauses[1:]


def _next(layers: Layers, run: str) -> str:
    """The command that most likely changes the picture."""
    undecided = [n for n, layer in layers.items() if any(s.mark == "undecided" for s in layer)]
    if undecided:
        name = undecided[0]
        more = f"{run} --only {quote(name)} --budget {LONG_BUDGET}"
        return f"To decide {_listed(undecided[:3])}, give them more time, such as: {more}"
    if not any(_contested(layer) for layer in layers.values()):
        return "Nothing was ranked: that takes two that complete. See also: gemmbench backends"
    slowest = _farthest_from_peak(layers)
    if slowest and slowest[0] < FAR_FROM_PEAK:
        fraction, name = slowest
        search = f"{run} --only {quote(name)} --tune force --budget {LONG_BUDGET}"
        return (
            f"{name} is farthest from the peak ({100 * fraction:.0f} %); to search its tile sizes "
            f"longer: {search}"
        )
    everyone = [s.trial for layer in layers.values() for s in layer]
    plain = all(trial.contender.weights == "plain" for trial in everyone)
    if plain and not any(isinstance(trial.problem, Gemm) for trial in everyone):
        return f"If the weights are constant, let them be prepared ahead: {run} --weights prepared"
    return ""


def _farthest_from_peak(layers: Layers) -> tuple[float, str] | None:
    """The smallest fraction of peak that a layer's best contender reaches, where one is tunable."""
    best = [
        (max(fractions), name)
        for name, layer in layers.items()
        if any(s.summary and s.trial.contender.config for s in layer)
        and (fractions := [f for s in layer if (f := _fraction(s)) is not None])
    ]
    return min(best) if best else None


def _fraction(standing: Standing) -> float | None:
    return fraction_of_peak(standing.trial, standing.summary) if standing.summary else None


def _default_and_tuned(layer: Sequence[Trial]) -> dict[ContenderKey, tuple[float, float]]:
    """Median seconds with the default and with the tuned config, of contenders that ran both.

    Configs that may not win are left out.
    """
    medians: dict[ContenderKey, dict[bool, float]] = {}
    for trial in layer:
        summary = summary_of(trial)
        if summary and may_win(trial):
            medians.setdefault(contender_key(trial), {})[trial.contender.tuned] = summary.median
    return {key: (two[False], two[True]) for key, two in medians.items() if len(two) == 2}


def _contested(layer: Sequence[Standing]) -> bool:
    return sum(1 for s in layer if s.summary) > 1


def _named(names: Sequence[str], total: int) -> str:
    if len(names) == total > 2:
        return f"all {total} layers"
    return f"{len(names)} of {total} layers" if len(names) > LISTED_LAYERS else _listed(names)


def _listed(names: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
