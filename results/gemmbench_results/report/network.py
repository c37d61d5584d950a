"""A pass through a network as a table, Markdown, CSV or JSON: what each layer takes, and the whole.

Seconds stay seconds in CSV and JSON; a table shows them in a unit that reads well.
"""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

import numpy as np

from gemmbench.machine import machine_to_data
from gemmbench.measurement import Measurement, Sample
from gemmbench.network import PassResult
from gemmbench.network_graph import node_to_data, shape_text
from gemmbench.network_pass import LayerResult
from gemmbench.stats import Summary, summarize
from gemmbench.trial import readable
from gemmbench_results.report.escape import markdown_cell, one_line
from gemmbench_results.report.published import PUBLISHED
from gemmbench_results.report.render import TextFormat, table_text
from gemmbench_results.report.table import (
    config_text,
    digits,
    seconds_text,
    time_text,
)

SCHEMA = 1
COLUMNS = {
    "layer": "left", "kind": "left", "output": "left", "by": "left", "average": "right",
    "median": "left", "share": "right", "alone": "right", "raced": "right", "error/bound": "right",
    "tile sizes": "left",
}  # fmt: skip
IMAGE_AXES = 4  # N, C, H, W
STAMPS_APART = 0.02  # of a pass that its layers' times may leave out before that is said


def network_text(
    result: PassResult,
    *,
    format: TextFormat = "table",  # noqa: A002  the command line's own word
) -> str:
    """The layers, then the pass in sentences; of one that failed only why."""
    if result.failure is not None or not result.passes:
        return "\n".join(_notes(result))
    table = table_text(COLUMNS, [_row(layer, result) for layer in result.layers], format)
    listed = _bullet if format == "markdown" else str
    said = [listed(line) for line in _sentences(result)]
    notes = [listed(line) for line in _notes(result)]
    return "\n".join([table, "", *said, *([""] if notes else []), *notes])


def network_rows(result: PassResult) -> list[dict[str, Any]]:
    """What CSV has of each layer; times in seconds, all numbers to six digits."""
    rows = [_csv_row(layer, result) for layer in result.layers]
    return [
        {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in row.items()}
        for row in rows
    ]


def _csv_row(layer: LayerResult, result: PassResult) -> dict[str, Any]:
    one, times, check = layer.chosen, summarize(layer.measurement), layer.check
    return {
        "layer": layer.node.name,
        "kind": layer.node.operation.kind,
        "from": ";".join(layer.node.reads),
        "output": shape_text(result.network.shapes[layer.node.name]),
        "backend": one.contender.backend if one else "",
        "algorithm": one.contender.algorithm if one else "",
        "weights": one.contender.weights if one else "",
        "average_seconds": average(layer.measurement),
        "median_seconds": times.median,
        "low_seconds": times.low,
        "high_seconds": times.high,
        "share": _share(layer, result),
        "alone_seconds": layer.alone_seconds,
        "raced_seconds": one.seconds if one else None,
        "error_over_bound": check.local if check else None,
        "pass_error_over_bound": check.whole if check else None,
    }


def network_json(result: PassResult) -> dict[str, Any]:
    """The pass as JSON-able data; what could not be measured is None."""
    done = result.failure is None and bool(result.passes)
    outputs = [layer for layer in result.layers if layer.node in result.network.outputs()]
    checks = [layer.check for layer in outputs if layer.check is not None]
    failure = result.failure
    return {
        "schema": SCHEMA,
        "suite": result.suite.name,
        "batch": result.network.batch(),
        "dtype": result.network.dtype,
        "threads": result.threads,
        "machine": machine_to_data(result.machine),
        "layers": [_layer_data(layer, result) for layer in result.layers],
        "pass": _seconds(result.passes) if done else None,
        "pass_seconds": summarize(result.passes).median if done else None,
        "seconds_per_image": _per_image(result) if done else None,
        "images_per_second": 1 / _per_image(result) if done else None,
        "conv_fc_share": conv_fc_share(result).median if done else None,
        "sum_of_layers_over_pass": _alone_over_pass(result) if done else None,
        "sum_of_raced_layers_over_pass": _raced_over_pass(result) if done else None,
        "stamps_over_pass": stamps_over_pass(result) if done else None,
        "max_error": max((c.relative_error for c in checks), default=None),
        "error_bound": max((c.relative_bound for c in checks), default=None),
        "published_shares": [
            {"share": one.share, "what": one.what, "source": one.source} for one in PUBLISHED
        ],
        "notes": list(result.choice.notes),
        **(
            {"failure": {"layer": failure.layer, "state": str(failure.state),
                         "reason": failure.reason}} if failure else {}
        ),
    }  # fmt: skip


def average(measurement: Measurement) -> float:
    """Mean seconds of a pass, as `caffe time` prints them."""
    return float(np.mean(measurement.seconds_per_call()))


def conv_fc_share(result: PassResult) -> Summary:
    """The share of each pass that its products took: median and interval, as fractions."""
    wholes = result.passes.samples
    taken = np.zeros(len(wholes))
    for layer in result.layers:
        if not layer.node.cheap:
            taken += layer.measurement.seconds_per_call()
    shares = tuple(
        Sample(float(part / whole.seconds), 1, whole.process, whole.round)
        for part, whole in zip(taken, wholes, strict=True)
    )
    return summarize(Measurement(shares))


def stamps_over_pass(result: PassResult) -> float:
    """What the layers' times add up to, over the passes' own: the one furthest from 1."""
    total = np.zeros(len(result.passes.samples))
    for layer in result.layers:
        total += layer.measurement.seconds_per_call()
    ratios = total / result.passes.seconds_per_call()
    return float(ratios[np.argmax(np.abs(ratios - 1))])


def _bullet(line: str) -> str:
    """`line` as an item of a Markdown list, as deep as it is indented."""
    text = line.lstrip()
    return f"{' ' * (len(line) - len(text))}- {markdown_cell(text)}"


def _row(layer: LayerResult, result: PassResult) -> list[str]:
    one, alone = layer.chosen, layer.alone_seconds
    return [
        layer.node.name,
        layer.node.operation.kind,
        shape_text(result.network.shapes[layer.node.name]),
        readable(one.contender.label()) if one else "",
        seconds_text(average(layer.measurement)),
        time_text(summarize(layer.measurement)),
        f"{100 * _share(layer, result):.1f} %",
        seconds_text(alone) if alone is not None else "",
        seconds_text(one.seconds) if one else "",
        _ratio(layer.check.local) if layer.check else "",
        config_text(one.contender.config, tuned=one.contender.tuned) if one else "",
    ]


def _sentences(result: PassResult) -> Iterator[str]:
    batch, times = result.network.batch(), summarize(result.passes)
    per_image, threads, unit = _per_image(result), result.threads, _unit(result)
    kind = "within one process" if times.within_process else f"over {times.processes} processes"
    yield (
        f"a pass, batch {batch}, {threads} thread{'s'[: threads - 1]}: "
        f"average {seconds_text(average(result.passes))}, median {time_text(times)} per batch "
        f"of {batch}, {seconds_text(per_image)} per {unit}, {digits(1 / per_image, 3)} {unit}s/s "
        f"({times.samples} passes, interval {kind})"
    )
    share = conv_fc_share(result)
    yield (
        f"conv + fc: {_percent(share.median)} of the pass "
        f"({_percent(max(share.low, 0))} to {_percent(min(share.high, 1))})"
    )
    found = "; ".join(f"{100 * one.share:g} % {one.what}" for one in PUBLISHED[:2])
    yield f"  the post says {found} ({PUBLISHED[0].source})"
    logs = "; ".join(f"{100 * one.share:g} % {one.what}" for one in PUBLISHED[2:])
    yield f"  logs of 2016 say {logs} (soumith/convnet-benchmarks@6f718db, caffe/output_*.log)"
    alone, raced = _alone_over_pass(result), _raced_over_pass(result)
    if alone is not None and raced is not None:
        yield (
            f"the layers called alone, over and over in the same process, add up to "
            f"{seconds_text(alone * times.median)}, {alone:.2f} of the pass (hot caches make it "
            f"smaller); with the products as they were raced, {raced:.2f}"
        )
    stamps = stamps_over_pass(result)
    apart = "" if abs(stamps - 1) <= STAMPS_APART else ": more than 2 % apart, do not believe them"
    yield f"the layers' stamps add up to {_percent(stamps, 2)} of a pass at worst{apart}"
    yield from _checked(result)


def _checked(result: PassResult) -> Iterator[str]:
    checks = [layer.check for layer in result.layers if layer.check is not None]
    if not checks:
        return
    worst = max(checks, key=lambda one: one.local)
    whole = max(checks, key=lambda one: one.whole or 0)
    last = checks[-1]
    yield (
        f"checked against float64: each layer on what it received, at worst {_ratio(worst.local)} "
        f"of its bound ({one_line(worst.layer)}); the whole pass at worst "
        f"{_ratio(whole.whole or 0)} of its bound ({one_line(whole.layer)}), its answer off by "
        f"{last.relative_error:.1e} of its rms, {last.relative_bound:.1e} is allowed"
    )


def _notes(result: PassResult) -> Iterator[str]:
    failure = result.failure
    if failure is not None:
        where = f" in layer {one_line(failure.layer)!r}" if failure.layer else ""
        yield f"{failure.state}{where}: {one_line(failure.reason)}"
    races = result.choice.races
    for trial in races.trials if races else ():
        if str(trial.state) in ("WRONG", "FAILED"):
            label = one_line(readable(trial.contender.label()))
            yield f"{trial.state} in a race: {label} on {trial.layer}: {one_line(trial.reason)}"
    yield from (one_line(note) for note in result.choice.notes)
    chosen = [layer.chosen for layer in result.layers if layer.chosen is not None]
    runs = sorted({one.run for one in chosen if one.stored})
    if runs:
        yield (
            f"raced: stored winners of run {', '.join(map(str, runs))}, at the pace that the "
            "machine had then"
        )


def _layer_data(layer: LayerResult, result: PassResult) -> dict[str, Any]:
    one, check, data = layer.chosen, layer.check, node_to_data(layer.node)
    return {
        "layer": layer.node.name,
        "kind": layer.node.operation.kind,
        "operation": data["operation"],
        "from": data["reads"],
        "output": list(result.network.shapes[layer.node.name]),
        "backend": one.contender.backend if one else None,
        "library": one.library if one else None,
        "algorithm": one.contender.algorithm if one else None,
        "weights": one.contender.weights if one else None,
        "config": dict(one.contender.config) if one else None,
        "tuned": one.contender.tuned if one else None,
        "run": one.run if one else None,
        "stored": one.stored if one else None,
        "seconds": _seconds(layer.measurement),
        "share": _share(layer, result),
        "raced_seconds": one.seconds if one else None,
        "alone_seconds": layer.alone_seconds,
        "error_over_bound": _finite(check.local) if check else None,
        "pass_error_over_bound": _finite(check.whole) if check else None,
        "pass_relative_error": check.relative_error if check else None,
        "pass_relative_bound": check.relative_bound if check else None,
    }


def _seconds(measurement: Measurement) -> Mapping[str, float | int]:
    times = summarize(measurement)
    return {
        "average": average(measurement),
        "median": times.median,
        "low": times.low,
        "high": times.high,
        "min": times.minimum,
        "samples": times.samples,
        "processes": times.processes,
    }


def _unit(result: PassResult) -> str:
    """What a batch has many of: images, or the rows of what is multiplied by weights."""
    return "image" if len(result.network.input_shape) == IMAGE_AXES else "row"


def _per_image(result: PassResult) -> float:
    """Seconds for one of what a batch has many of."""
    return summarize(result.passes).median / result.network.batch()


def _share(layer: LayerResult, result: PassResult) -> float:
    return average(layer.measurement) / average(result.passes)


def _alone_over_pass(result: PassResult) -> float | None:
    """The sum of what the layers take alone in its process, over a pass; None where not known."""
    alone = [layer.alone_seconds for layer in result.layers]
    known = [seconds for seconds in alone if seconds is not None]
    return sum(known) / summarize(result.passes).median if len(known) == len(alone) else None


def _raced_over_pass(result: PassResult) -> float | None:
    """The same with the products' medians of their races, at the pace the machine had then."""
    alone = [one.chosen.seconds if one.chosen else one.alone_seconds for one in result.layers]
    known = [seconds for seconds in alone if seconds is not None]
    return sum(known) / summarize(result.passes).median if len(known) == len(alone) else None


def _percent(share: float, decimals: int = 1) -> str:
    return f"{100 * share:.{decimals}f} %"


def _ratio(value: float) -> str:
    """An error over its bound: '0' where it must be exact and is."""
    return "0" if value == 0 else f"{value:.2g}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
