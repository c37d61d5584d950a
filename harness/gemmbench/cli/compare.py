"""`gemmbench compare`."""

from typing import TYPE_CHECKING

import click

from gemmbench.cli import by_setting, side_by_side, sweeping
from gemmbench.cli.effort import budget_option, tune_option
from gemmbench.cli.formats import format_option
from gemmbench.cli.given import Given, gathered, run_options, what_is_asked
from gemmbench.cli.measuring import measuring_options
from gemmbench.cli.plan import check_db, dry_run_option
from gemmbench.cli.raced import batch_lowering_option
from gemmbench.cli.reusing import SETTINGS, check_reuse
from gemmbench.cli.suite import SuiteName
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.compare.settings import SettingBy
    from gemmbench.compare.side_by_side import By
    from gemmbench_results.report.render import TableFormat


@click.command(
    epilog="Example: gemmbench compare fft_crossover --only L3 --weights prepared "
    "--sweep kernel=3,5,7,9 --sweep stride=1,2"
)
@click.argument("suite", metavar="SUITE", type=SuiteName())
@measuring_options
@batch_lowering_option
@click.option(
    "--by",
    type=click.Choice(["algorithm", "backend", "contender", *SETTINGS]),
    default="algorithm",
    show_default=True,
    help="What stands side by side: the fastest of each algorithm, of each backend, or each "
    "contender; or a contender against itself with other operands, or with cold caches.",
)
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="NAME=V,V,...",
    help="Race a grid of shapes around the first convolution instead: kernel, stride, pad, "
    "dilation, channels, out, size, groups, batch. Repeatable. A swept kernel is padded by half.",
)
@tune_option(
    "stored",
    "never",
    "auto",
    "force",
    meaning="Tile sizes: stored winners where there are; defaults; or a search as in run.",
)
@budget_option("For the whole command. [default: 18 a layer, 8 a point of a sweep]")
@click.option(
    "--reuse", is_flag=True, help="Take layers from an earlier race of the same code, and say so."
)
@dry_run_option
@format_option
@gathered
def compare(
    suite: str,
    given: Given,
    by: "By | SettingBy",
    sweeps: tuple[str, ...],
    reuse: bool,
    dry_run: bool,
    format_: "TableFormat",
) -> int:
    """Compare the ways of computing each convolution of SUITE: time, stages, memory, error.

    All race together, as in 'gemmbench run'. With --sweep a map says which algorithm wins at which
    shape; with --by fill or cache it is said how much slower each contender gets.
    """
    check_together(by, sweeps, given.cache, given.fill)
    if reuse:
        check_reuse(by, sweeps, given.tune, given.batch_lowering)
    asked = what_is_asked((suite,), given)
    options = run_options(given, asked)
    if dry_run:
        check_db(given.db)
    if sweeps:
        grid = sweeping.grid_of(asked, sweeps, options)
        if dry_run:
            return sweeping.print_grid(grid, asked, options)
        return sweeping.sweep(grid, asked, options, given, format_)
    if by == "fill" or by == "cache":  # SETTINGS, by names that mypy tells apart
        if dry_run:
            return by_setting.print_settings(asked, by, options)
        return by_setting.by_setting(asked, by, options, given, format_)
    if dry_run:
        return side_by_side.print_race(asked, options, given.db, reuse=reuse)
    return side_by_side.side_by_side(asked, by, options, given, format_, reuse=reuse)


def check_together(by: str, sweeps: tuple[str, ...], cache: str, fill: str) -> None:
    """Raise GemmbenchError for options that contradict each other."""
    if sweeps and by != "algorithm":
        raise GemmbenchError(f"--by: {by} does not go with --sweep, which maps algorithms.")
    if by == "fill" and fill != "uniform":
        raise GemmbenchError("--fill: --by fill races every fill. Leave --fill out.")
    if by == "cache" and cache != "hot":
        raise GemmbenchError("--cache: --by cache races both. Leave --cache out.")
