"""The algorithms, or backends, of each convolution side by side: time, stages, memory, error."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gemmbench.compare.side_by_side import By, standing_for
from gemmbench.problem import ITEMSIZE, Conv2d, problem_to_data
from gemmbench.ranking import rank
from gemmbench.stats import Verdict, summarize
from gemmbench.trial import Trial, TrialState
from gemmbench_results.report.as_json import trial_to_data, verdict_to_data
from gemmbench_results.report.render import LEFT, RIGHT, TextFormat, notes_text, table_text
from gemmbench_results.report.standing import Standing, layers_of, standings
from gemmbench_results.report.table import (
    accuracy_text,
    footnotes,
    result_text,
    seconds_text,
    time_text,
)

STAGES_FIT = 0.10  # share of the total by which the stages' sum may be off
STAGES = ("im2col", "filter transform", "input transform", "multiply", "output transform")
FUSED = "fused"  # what is said of an algorithm whose stages cannot be told apart
STAGES_NOTE = (
    "stages: the parts of one call, each timed alone; sum: of the stages, of the total; * is more "
    "than 10 % off, so they do not explain the total; fused: the parts cannot be told apart"
)
MEMORY_NOTE = (
    "workspace: what a contender says it needs beside operands and output, × the input's bytes; "
    "peak: operands, output, and the larger of that and what a call was seen to take; ≥ it says "
    "nothing"
)


def chosen(trials: Sequence[Trial], by: By) -> dict[str, list[Trial]]:
    """Of each layer the trials that are shown: one for each algorithm, or for each backend."""
    return {layer: standing_for(own, by) for layer, own in layers_of(trials).items()}


def verdicts_of(layers: Mapping[str, Sequence[Trial]]) -> dict[str, tuple[Verdict, ...]]:
    """The verdicts over what is shown; leaders are indices into it."""
    return {layer: rank(own) for layer, own in layers.items()}


def side_by_side_text(trials: Sequence[Trial], by: By, format: TextFormat = "table") -> str:  # noqa: A002
    """A table of all layers, what im2col costs in memory, and what the columns mean."""
    layers = chosen(trials, by)
    found = standings([t for own in layers.values() for t in own], verdicts_of(layers))
    told = dict.fromkeys(s for own in layers.values() for t in own for s in t.stages)
    names = [name for name in STAGES if name in told] + [n for n in told if n not in STAGES]
    rows = [row for own in found.values() for row in _rows(own, names)]
    if not rows:
        return ""
    first = "backend" if by == "backend" else "algorithm"
    other = "backend" if first == "algorithm" else "algorithm"
    columns = {
        "layer": LEFT, first: LEFT, other: LEFT, "time": LEFT, "speed": RIGHT,
        **dict.fromkeys(names, RIGHT), "sum": RIGHT, "workspace": LEFT, "peak": RIGHT,
        "max/rms error": RIGHT, "result": LEFT,
    }  # fmt: skip
    kept = {name: side for name, side in columns.items() if any(row[name] for row in rows)}
    table = table_text(kept, [[row[name] for name in kept] for row in rows], format)
    notes = [STAGES_NOTE, MEMORY_NOTE, *footnotes([s for own in found.values() for s in own])]
    expansion = expansion_sentence({layer: own[0].problem for layer, own in layers.items() if own})
    return "\n\n".join([table, notes_text([expansion, *notes], format)])


def expansion_sentence(problems: Mapping[str, Any]) -> str:
    """How many times the input's bytes im2col's columns are, layer by layer."""
    factors = {layer: im2col_expansion(p) for layer, p in problems.items()}
    clauses = [f"{layer} {factor:.1f}" for layer, factor in factors.items() if factor]
    return (
        f"im2col writes out, over the bytes of the input: {', '.join(clauses)}." if clauses else ""
    )


def im2col_expansion(problem: Any) -> float | None:
    """Bytes of the column matrices over those of the input; None where nothing is written out."""
    if not isinstance(problem, Conv2d) or not problem.im2col_bytes():
        return None
    return problem.im2col_bytes() * problem.batch / input_bytes(problem)


def input_bytes(problem: Conv2d) -> int:
    """Bytes of the images, x: (N, C, H, W)."""
    return (
        problem.batch * problem.channels * problem.height * problem.width * ITEMSIZE[problem.dtype]
    )


def stage_share(trial: Trial) -> float | None:
    """The sum of the stages over a call; None where they cannot be told apart or nothing is timed.

    Stages are told at the pace of the race (docs/adr/026-stages-by-a-mask.md).
    """
    if not trial.stages or not trial.measurement:
        return None
    return sum(trial.stages.values()) / summarize(trial.measurement).median


def peak_bytes(trial: Trial) -> int | None:
    """Operands, output, and the larger of the workspace that is told and of what a call took.

    What a call takes is part of the workspace, if the backend counts it. None if neither is known.
    """
    known = [n for n in (trial.workspace_bytes, trial.call_bytes) if n is not None]
    return trial.problem.minimal_bytes() + max(known) if known else None


def side_by_side_data(
    trials: Sequence[Trial], by: By, reused: Mapping[str, int]
) -> list[dict[str, Any]]:
    """The layers of the JSON of `compare`; `reused` names the run that a layer was taken from."""
    layers = chosen(trials, by)
    verdicts = verdicts_of(layers)
    return [
        {
            "suite": own[0].suite,
            "layer": layer,
            "problem": problem_to_data(own[0].problem),
            "im2col_expansion": im2col_expansion(own[0].problem),
            "reused_from_run": reused.get(layer),
            "verdicts": [verdict_to_data(v, own) for v in verdicts[layer]],
            "rows": [_row_data(standing) for standing in found],
        }
        for layer, own in layers.items()
        for found in [standings(own, verdicts)[layer]]
        if own
    ]


def _row_data(standing: Standing) -> dict[str, Any]:
    trial, summary = standing.trial, standing.summary
    share = stage_share(trial) if summary else None
    problem = trial.problem
    own = trial.workspace_bytes if isinstance(problem, Conv2d) else None
    return {
        **trial_to_data(trial),
        "speed": standing.speed,
        "result": result_text(standing),
        "stage_sum_over_total": share,
        "stages_fit": None if share is None else abs(share - 1) <= STAGES_FIT,
        "workspace_over_input": None if own is None else own / input_bytes(problem),  # type: ignore[arg-type]
        "peak_memory_bytes": peak_bytes(trial),
    }


def _rows(layer: Sequence[Standing], names: Sequence[str]) -> Iterator[dict[str, str]]:
    shown = [s for s in layer if s.trial.state is not TrialState.SKIPPED] or list(layer)
    for position, standing in enumerate(shown):
        trial, summary = standing.trial, standing.summary
        one = trial.contender
        prepared = " prepared" if one.weights == "prepared" else ""
        yield {
            "layer": "" if position else trial.layer,
            "algorithm": f"{one.algorithm}{prepared}",
            "backend": one.backend,
            "time": time_text(summary) if summary else "",
            "speed": "" if standing.speed is None else f"{standing.speed:.2f}",
            **{n: seconds_text(trial.stages[n]) if n in trial.stages else "" for n in names},
            "sum": _sum_text(trial) if summary else "",
            "workspace": _workspace_text(trial) if summary else "",
            "peak": _peak_text(trial) if summary else "",
            "max/rms error": accuracy_text(trial),
            "result": result_text(standing),
        }


def _sum_text(trial: Trial) -> str:
    share = stage_share(trial)
    if share is None:
        return FUSED
    return f"{100 * share:.0f} %{' *' if abs(share - 1) > STAGES_FIT else ''}"


def _workspace_text(trial: Trial) -> str:
    if trial.workspace_bytes is None:
        return "not told"
    times = ""
    if isinstance(trial.problem, Conv2d) and trial.workspace_bytes:
        times = f" ×{trial.workspace_bytes / input_bytes(trial.problem):.2g}"
    return f"{_mb(trial.workspace_bytes)}{times}"


def _peak_text(trial: Trial) -> str:
    nbytes = peak_bytes(trial)
    return f"{'≥ ' if nbytes and trial.workspace_bytes is None else ''}{_mb(nbytes)}"


def _mb(nbytes: int | None) -> str:
    return "" if nbytes is None else f"{nbytes / 1e6:.2f} MB"
