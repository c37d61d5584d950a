"""What all commands share: the database, JSON, seed and quiet options, and values of options.

What is raced is in `raced.py`, how much it may cost in `effort.py`.
"""

import os
import re
from collections.abc import Callable
from functools import reduce
from math import isfinite
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from gemmbench.errors import GemmbenchError

DEFAULT_DB = "results/gemmbench.db"

Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Any], Any]  # a decorator that gives a command an option


def in_order(*options: Option) -> Option:
    """A decorator that gives a command all of `options`, in this order in its help."""
    return lambda command: reduce(lambda inner, option: option(inner), reversed(options), command)


class Positive(click.FloatRange):
    """A positive, finite number; `meaning` says of what, in the words of an error."""

    def __init__(self, meaning: str) -> None:
        super().__init__(min=0, min_open=True)
        self.meaning = meaning

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """`value` as a number; fails for infinity and NaN too."""
        number: float = click.FLOAT.convert(value, param, ctx)
        if number <= 0:  # as it was typed: click tells 0.0 of 0
            self.fail(f"{str(value)!r} is not in the range x>0.", param, ctx)
        if not isfinite(number):
            self.fail(f"got {value!r}, expected a finite {self.meaning}.", param, ctx)
        return number


class Seconds(Positive):
    """A positive, finite number of seconds."""

    def __init__(self) -> None:
        super().__init__("number of seconds")


def parse_size(text: str) -> int:
    """Bytes that `text` means, such as '4G' or '512 MiB'; K, M, G, T count by 1024.

    Raises GemmbenchError for anything else.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text, re.IGNORECASE)
    size = int(float(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " ")) if match else 0
    if size < 1:
        raise GemmbenchError(f"--memory: got {text!r}, expected a size such as 4G or 512M.")
    return size


def options_given(*leave_out: str) -> str:
    """The options of the running command as the user gave them, to be typed again; else ''.

    Flags, and the options whose names are in `leave_out`, are not repeated.
    """
    context = click.get_current_context(silent=True)
    words: list[str] = []
    for option in context.command.params if context else ():
        if context is None or not isinstance(option, click.Option) or option.is_flag:
            continue
        name = str(option.name)
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in leave_out:
            value = context.params[name]
            for each in value if option.multiple else (value,):
                words += [max(option.opts, key=len), quote(str(each))]
    return "".join(f" {word}" for word in words)


def _checked_db(_context: click.Context, _param: click.Parameter, value: str) -> str:
    """`value`, unless it is a path into a folder that is not there: most likely a typing error.

    Only the folder of the default is made.
    """
    folder = Path(value).parent
    if value != DEFAULT_DB and "://" not in value and not folder.is_dir():
        raise GemmbenchError(
            f"--db: {value!r}: there is no folder {str(folder)!r}. Make it first, or name another."
        )
    return value


def _checked_json(
    context: click.Context, _param: click.Parameter, json_to: str | None
) -> str | None:
    """`json_to`, unless it is a file that cannot be written later, when the work is done.

    A file that is there and holds anything but JSON is not overwritten.
    """
    if json_to is None or json_to == "-" or context.resilient_parsing:
        return json_to
    path = Path(json_to)
    if not json_to or path.is_dir() or not os.access(path.parent, os.W_OK):
        raise GemmbenchError(
            f"--json: cannot write {json_to!r}: not a file in a folder that can be written. "
            "Name a file, or '-' for stdout."
        )
    there = path.exists()
    try:
        path.open("ab").close()  # permissions do not tell all: a read-only or a special file system
        if not there:
            path.unlink()
    except OSError as error:
        raise GemmbenchError(
            f"--json: cannot write {json_to!r}: {error.strerror}. Name another file, or '-'."
        ) from error
    if there and path.read_bytes()[:1] not in (b"", b"{"):
        raise GemmbenchError(
            f"--json: {json_to!r} exists and holds something else than JSON. Name another file."
        )
    return json_to


db_option: Option = click.option(
    "--db",
    metavar="URL",
    envvar="GEMMBENCH_DB",
    default=DEFAULT_DB,
    show_default=True,
    show_envvar=True,
    callback=_checked_db,
    help="Where results are kept: a path or a SQLAlchemy URL.",
)

json_option: Option = click.option(
    "--json",
    "json_to",
    metavar="FILE|-",
    callback=_checked_json,
    help="Write the result as JSON to FILE, or to stdout with '-' (text then goes to stderr).",
)

seed_option: Option = click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Seed of the operands, the search and the order of turns.",
)

# Nothing on stdout but what was asked for with --json.
quiet_option: Option = click.option(
    "--quiet", "-q", is_flag=True, help="Print no progress and no table."
)
