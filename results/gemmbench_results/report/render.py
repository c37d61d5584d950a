"""One way to print a table in any of four formats, for every command that has one.

`table` is for a terminal, `markdown` for a page, `csv` and `json` for another program. The first
two have texts with units; the others have the data, in SI units, with nothing rounded.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Literal, get_args

from tabulate import tabulate

from gemmbench_results.report.escape import markdown_cell, one_line

TextFormat = Literal["table", "markdown"]
TableFormat = Literal["table", "markdown", "csv", "json"]
FORMATS: tuple[TableFormat, ...] = get_args(TableFormat)
STYLES: Mapping[TextFormat, str] = {"table": "simple", "markdown": "github"}  # ours: tabulate's
FORMULA = ("=", "+", "-", "@")  # how a cell begins that a spreadsheet would compute

LEFT, RIGHT = "left", "right"


def table_text(
    columns: Mapping[str, str],
    rows: Sequence[Sequence[str]],
    format: TextFormat,  # noqa: A002
) -> str:
    """The rows under the names of `columns`, whose values are "left" or "right"; '' without any."""
    if not rows:
        return ""
    escape = markdown_cell if format == "markdown" else one_line
    text = tabulate(
        [[escape(cell) for cell in row] for row in rows],
        headers=[escape(name) for name in columns],
        tablefmt=STYLES[format],
        disable_numparse=True,
        colalign=list(columns.values()),
    )
    return "\n".join(line.rstrip() for line in text.splitlines())


def narrow_text(
    columns: Mapping[str, str],
    rows: Sequence[Sequence[str]],
    format: TextFormat,  # noqa: A002
) -> str:
    """As `table_text`, without the two blanks that tabulate adds to each name of a column."""
    if format == "markdown" or not rows:
        return table_text(columns, rows, format)
    cells = [[one_line(cell) for cell in row] for row in (tuple(columns), *rows)]
    rule = ["-" * max(map(len, column)) for column in zip(*cells, strict=True)]
    text = tabulate(
        [cells[0], rule, *cells[1:]],
        tablefmt="plain",
        disable_numparse=True,
        colalign=list(columns.values()),
    )
    return "\n".join(line.rstrip() for line in text.splitlines())


def prose(text: str, format: TextFormat) -> str:  # noqa: A002
    """A sentence beside a table: in Markdown, names in it are no markup."""
    return markdown_cell(text) if format == "markdown" else one_line(text)


def notes_text(notes: Sequence[str], format: TextFormat) -> str:  # noqa: A002
    """Sentences under a table, a line each; in Markdown a paragraph each, or they would run on."""
    between = "\n\n" if format == "markdown" else "\n"
    return between.join(prose(note, format) for note in notes if note)


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """`rows` as CSV: nested mappings become columns such as seconds.median, lists JSON.

    Missing values and numbers that are not finite are empty. A mapping that a row lacks makes no
    column of its own beside those that it becomes in the others. `columns` are there, and first,
    whatever the rows have.
    """
    flat = [_flat(row) for row in rows]
    listed = dict.fromkeys([*columns, *(name for row in flat for name in row)])
    names = [name for name in listed if not _is_missing_mapping(name, flat, listed)]
    flat = [{name: row[name] for name in names if name in row} for row in flat]
    if not names:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def json_text(data: object) -> str:
    """`data` as JSON; numbers that are not finite are null."""
    return json.dumps(finite(data), indent=2, ensure_ascii=False)


def finite(data: Any) -> Any:
    """`data` with None for every number that is not finite."""
    if isinstance(data, Mapping):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return None if isinstance(data, float) and not isfinite(data) else data


def _flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping) and name not in FREE:
            found.update(_flat(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = _cell(value)
    return found


def _is_missing_mapping(
    name: str, flat: Sequence[Mapping[str, Any]], names: Mapping[str, object]
) -> bool:
    """Whether `name` is a mapping in other rows and nothing in those that have it."""
    nested = any(other.startswith(f"{name}.") for other in names)
    return nested and all(row.get(name, "") == "" for row in flat)


FREE = ("config", "device", "stages", "axes")  # mappings whose keys differ from row to row


def _cell(value: Any) -> Any:
    """A number or a text; what a spreadsheet would compute gets an apostrophe before it."""
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(finite(value), ensure_ascii=False)
    if isinstance(value, float) and not isfinite(value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value
