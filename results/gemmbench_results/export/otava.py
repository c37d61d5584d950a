"""A history as a CSV for Apache Otava, and the configuration with which it reads that CSV.

Otava wants a row a run and a column a metric, and a number in every cell: one NaN hides every
change point of its column (seen with apache-otava 0.8.0). So the columns are what the newest run
timed, and runs that did not time all of it are left out.
Source: apache-otava 0.8.0, CsvImporter in importer.py and create_csv_test_config in
test_config.py.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from gemmbench_results.export.entries import contender_name
from gemmbench_results.history import Group, Point

FILE = "gemmbench.csv"  # that the configuration names, beside itself
ATTRIBUTES = ("run", "fingerprint")
SMALLER_IS_BETTER = -1


@dataclass(frozen=True, slots=True)
class OtavaTable:
    """Metric names, and of each run its time and values; `left_out` runs lacked a metric."""

    metrics: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[float, ...]], ...]
    fingerprint: str
    left_out: int


def otava_table(groups: Sequence[Group]) -> OtavaTable:
    """The history of the group that holds the newest run."""
    group = max(groups, key=lambda one: one.runs[-1])
    columns: dict[str, dict[int, Point]] = {
        f"{series.suite}/{series.layer}/{contender_name(series.contender)}": {
            point.run: point for point in series.points
        }
        for series in group.series
    }
    newest = {name: points for name, points in columns.items() if group.runs[-1] in points}
    runs = [run for run in group.runs if all(run in points for points in newest.values())]
    rows = tuple(
        (
            next(iter(newest.values()))[run].started_at,
            run,
            tuple(points[run].value for points in newest.values()),
        )
        for run in runs
    )
    left_out = len(group.runs) - len(runs)
    return OtavaTable(tuple(newest), rows, group.fingerprint.key(), left_out)


def otava_csv(table: OtavaTable) -> str:
    """The CSV: `time`, the attributes, and a column a metric in units of the reference."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(["time", *ATTRIBUTES, *table.metrics])
    for started_at, run, values in table.rows:
        writer.writerow([started_at, run, table.fingerprint, *map(repr, values)])
    return target.getvalue()


def otava_config(table: OtavaTable) -> str:
    """YAML for `otava analyze --config-file`; its one test is called 'gemmbench'."""
    test: dict[str, Any] = {
        "type": "csv",
        "file": FILE,
        "time_column": "time",
        "attributes": list(ATTRIBUTES),
        "metrics": {name: {"direction": SMALLER_IS_BETTER} for name in table.metrics},
    }
    text: str = yaml.safe_dump(
        {"tests": {"gemmbench": test}}, sort_keys=False, allow_unicode=True, width=10_000
    )
    return text
