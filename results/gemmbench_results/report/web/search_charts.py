"""The charts of searches and of the history: words, figures, and figures as text."""

from gemmbench_results.report.table import digits, seconds_text
from gemmbench_results.report.web.chart import Chart, View
from gemmbench_results.report.web.evidence import Evidence
from gemmbench_results.report.web.lines import FEWEST_POINTS, lines
from gemmbench_results.report.web.search_figures import (
    history_figure,
    search_figure,
    tiles_figure,
)
from gemmbench_results.report.web.searches import Search, improvements, searches, tile_map

FEWEST_EVALUATIONS = 2  # one config is no search


def search_charts(evidence: Evidence) -> list[Chart]:
    """The best so far of each search, and its times over two axes of its space."""
    begun = searches(evidence.searches.trials)
    found = [one for one in begun if len(one.trials) >= FEWEST_EVALUATIONS]
    timed = [one for one in found if improvements(one)]
    if begun and not timed:
        why = "No search to draw: none timed more than one config. Give it more --budget."
        return [Chart("curves", "Searches", why), Chart("tiles", "Tile sizes", why)]
    if not timed:
        why = (
            "No search is stored: 'gemmbench tune' makes one, and 'gemmbench run' where no winner "
        )
        return [
            Chart("curves", "Searches", f"{why}of an earlier search fits."),
            Chart("tiles", "Tile sizes", "No search is stored, so there is nothing to map."),
        ]
    run = evidence.searches.run
    where = "" if run == evidence.run.number else f" The searches are those of run {run}."
    return [_curves(timed, where), _tiles(timed)]


def history_chart(evidence: Evidence) -> Chart:
    """How times developed over comparable runs."""
    key, title = "history", "History"
    found = lines(evidence.history)
    if not found:
        return Chart(
            key,
            title,
            f"No line to draw: that takes {FEWEST_POINTS} comparable runs of the suite, which "
            "time a contender beside the same reference.",
        )
    layers = list(dict.fromkeys(line.layer for line in found))
    return Chart(
        key,
        title,
        "Each contender's fastest block over that of a reference timed in the same rounds, because "
        "machines drift. Only runs of one machine, software and protocol share a line; a large "
        "marker is where a step begins. It informs and gates nothing.",
        tuple(
            View(layer, history_figure([line for line in found if line.layer == layer]))
            for layer in layers
        ),
        ("layer", "contender", "over", "runs", "first", "latest", "steps"),
        tuple(
            (
                line.layer,
                line.contender,
                line.reference,
                str(len(line.points)),
                digits(line.points[0].value, 4),
                digits(line.points[-1].value, 4),
                "; ".join(text for _, text in line.steps),
            )
            for line in found
        ),
    )


def _curves(found: list[Search], where: str) -> Chart:
    layers = list(dict.fromkeys(one.layer for one in found))
    steps = {id(one): improvements(one) for one in found}
    return Chart(
        "curves",
        "Searches",
        "The best config so far over the configs measured, by the search's own samples, which are "
        f"lucky ones: what counts is the race afterwards.{where}",
        tuple(
            View(
                layer,
                search_figure([(one, steps[id(one)]) for one in found if one.layer == layer]),
            )
            for layer in layers
        ),
        ("layer", "contender", "configs", "first", "best", "found after", "best config"),
        tuple(
            (
                one.layer,
                one.contender,
                str(len(one.trials)),
                seconds_text(steps[id(one)][0].seconds),
                seconds_text(steps[id(one)][-1].seconds),
                str(steps[id(one)][-1].evaluation),
                steps[id(one)][-1].config,
            )
            for one in found
        ),
    )


def _tiles(found: list[Search]) -> Chart:
    maps = [
        (one, tile_map(one.points())) for one in sorted(found, key=lambda one: -len(one.trials))
    ]
    drawn = [(one, tiles) for one, tiles in maps if tiles is not None]
    title = "Tile sizes"
    if not drawn:
        return Chart("tiles", title, "No search has two axes with several values to map.")
    return Chart(
        "tiles",
        title,
        "The fastest milliseconds for each pair of values of the two axes that explain most of the "
        "times. Empty: no such config was measured, or none completed.",
        tuple(View(f"{one.layer}: {one.contender}", tiles_figure(tiles)) for one, tiles in drawn),
        ("layer", "contender", "across", "down", "cells timed"),
        tuple(
            (
                one.layer,
                one.contender,
                tiles.across,
                tiles.down,
                str(sum(ms is not None for row in tiles.ms for ms in row)),
            )
            for one, tiles in drawn
        ),
    )
