"""`gemmbench replay`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gemmbench.cli.formats import format_option, print_formatted
from gemmbench.cli.options import json_option, quiet_option
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.replay import Score
    from gemmbench_results.report.render import TableFormat, TextFormat


@click.command(epilog="Example: gemmbench replay conv_A4000.csv.gz --strategy gp,random --seeds 20")
@click.argument(
    "spaces",
    nargs=-1,
    required=True,
    metavar="SPACE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--strategy",
    "strategies",
    metavar="NAME[,NAME...]",
    default="gp",
    show_default=True,
    help="Strategies to compare: gp, random, genetic, exhaustive.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Searches of each strategy on each space, each from another random config.",
)
@click.option(
    "--evaluations",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Most configs one search measures.",
)
@json_option
@quiet_option
@format_option
def replay(
    spaces: tuple[Path, ...],
    strategies: str,
    seeds: int,
    evaluations: int,
    json_to: str | None,
    quiet: bool,
    format_: "TableFormat",
) -> int:
    """Compare search strategies on recorded spaces, by looking times up instead of measuring.

    SPACE is a CSV file, one column an axis and `time_ms` last (empty where the config failed), or
    a cache file of Kernel Tuner's; both may be gzipped. Columns @20 to @200 are the speed of the
    best config after so many evaluations, as a fraction of the optimum's.
    """
    from gemmbench.recorded import load_recorded
    from gemmbench.replay import replay as search
    from gemmbench.replay import score, score_to_data
    from gemmbench.tune.strategies import check_strategy

    names = [name.strip() for name in strategies.split(",") if name.strip()]
    if not names:
        raise GemmbenchError(f"--strategy: got {strategies!r}, expected names such as gp,random.")
    for name in names:
        check_strategy(name)
    loaded = [load_recorded(path) for path in spaces]
    rows = []
    for recorded in loaded:
        for name in names:
            traces = [search(recorded, name, seed, evaluations) for seed in range(seeds)]
            rows.append(score(recorded, name, traces, evaluations))
    data = [score_to_data(row) for row in rows]
    print_formatted(
        format_,
        lambda style: table(rows, style),
        lambda: {"schema": 1, "rows": data},
        lambda: data,
        quiet=quiet,
        json_to=json_to,
    )
    return 0


def table(rows: "list[Score]", style: "TextFormat" = "table") -> str:
    """One line a space and strategy, and the means where there are several spaces."""
    from gemmbench.replay import MILESTONES
    from gemmbench_results.report.render import table_text

    headers = ["space", "strategy", *(f"@{n}" for n in MILESTONES)]
    headers += ["to 95%", "reached", "ms/proposal", "slowest"]
    cells = [_cells(row.space, row.strategy, [row]) for row in rows]
    if len({row.space for row in rows}) > 1:
        for strategy in dict.fromkeys(row.strategy for row in rows):
            own = [row for row in rows if row.strategy == strategy]
            cells += [_cells("mean", strategy, own)]
    return table_text(dict.fromkeys(headers, "left"), cells, style)


def _cells(space: str, strategy: str, rows: "list[Score]") -> list[str]:
    from gemmbench.replay import MILESTONES

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    at = [f"{mean([row.at[n] for row in rows]):.3f}" if n in rows[0].at else "" for n in MILESTONES]
    return [
        space,
        strategy,
        *at,
        f"{mean([row.mean_evaluations_to_95 for row in rows]):.1f}",
        f"{mean([row.reached_95 for row in rows]):.0%}",
        f"{mean([row.ms_per_proposal for row in rows]):.2f}",
        f"{max(row.slowest_proposal_ms for row in rows):.0f}",
    ]
