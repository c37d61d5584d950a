"""What click refuses, in the words of every other error: where, what was given, what is allowed.

Click tells in sentences of its own, of which the value that was given is taken; what is allowed is
asked of the parameter. A sentence that is not known is kept, behind where it belongs.
"""

import re
import sys
from collections.abc import Sequence

import click

from gemmbench.errors import did_you_mean

VALUE = re.compile(r"'?(?P<value>.*?)'? is not (?:one of|in the range|a valid) ", re.DOTALL)
COMMAND = re.compile(r"No such command '(?P<name>.*?)'\.", re.DOTALL)
EXTRA = re.compile(r"Got unexpected extra arguments? \((?P<words>.*)\)", re.DOTALL)
FEW_CHOICES = 10  # up to here they are listed; beyond, the help does


def usage_line(error: click.UsageError) -> str:
    """One line for `error`, with where help is, unless it says itself what to do."""
    told = _told(error)
    remedied = told.startswith("--") and type(error) is click.UsageError  # an error of our own
    if remedied or error.ctx is None:
        return told
    example = _example(error.ctx.command) if isinstance(error, click.MissingParameter) else ""
    return f"{told} Try '{error.ctx.command_path} --help'{f', or: {example}' if example else '.'}"


def _told(error: click.UsageError) -> str:
    if isinstance(error, click.MissingParameter):
        return f"{_path(error)}: got no {_name(error).rstrip('.')}."
    if isinstance(error, click.BadParameter):
        return f"{_name(error)}: {_refused(error)}"
    if isinstance(error, click.NoSuchOption):
        near = error.possibilities or ()
        meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        return f"{_path(error)}: got {error.option_name!r}, which is no option of it.{meant}"
    if isinstance(error, click.BadOptionUsage):
        needs = "requires" in error.message
        told = "got no value, expected one" if needs else "got a value, expected none"
        return f"{error.option_name}: {told}."
    if found := COMMAND.match(error.message):
        meant = did_you_mean(found["name"], _commands(error))
        return f"{_path(error)}: got {found['name']!r}, which is no command of it.{meant}"
    if found := EXTRA.match(error.message):
        return f"{_path(error)}: got {found['words']!r} more than it takes."
    if error.message.startswith("--"):
        return error.message
    return f"{_path(error)}: {error.message}"


def _refused(error: click.BadParameter) -> str:
    """What was given, and what the parameter allows; else click's own sentence."""
    kind = error.param.type if error.param is not None else None
    found = VALUE.match(error.message)
    allowed = _allowed(kind) if kind is not None and found else ""
    if found is None or not allowed:
        return f"{error.message[:1].lower()}{error.message[1:]}"
    given = found["value"]
    choices = kind.choices if isinstance(kind, click.Choice) else ()
    near = did_you_mean(given, choices) if len(choices) > 2 else ""  # of two, both are told
    hint = near if near.startswith(" Did") else ""
    return f"got {given!r}, expected {allowed}.{hint}"


def _allowed(kind: object) -> str:
    """As 'hot or cold', 'an integer >= 1' or 'a number > 0 and <= 1'; '' if it cannot be said."""
    if isinstance(kind, click.Choice):
        return _listed([str(choice) for choice in kind.choices])
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return ""
    noun = "an integer" if isinstance(kind, click.IntRange) else "a number"
    low = [] if kind.min is None else [f"{'>' if kind.min_open else '>='} {kind.min:g}"]
    high = [] if kind.max is None else [f"{'<' if kind.max_open else '<='} {kind.max}"]
    return f"{noun} {' and '.join(low + high)}".rstrip()


def _listed(choices: Sequence[str]) -> str:
    if len(choices) > FEW_CHOICES:
        return f"one of {len(choices)} names"
    return " or ".join([*([", ".join(choices[:-1])] if choices[1:] else []), choices[-1]])


def _name(error: click.BadParameter) -> str:
    """The option or the argument, as it is typed."""
    if error.param is None:
        return str(error.param_hint or "value")
    if isinstance(error.param, click.Option):
        return _typed(error.param.opts)
    return str(error.param.metavar or error.param.name)


def _typed(names: Sequence[str]) -> str:
    """The one of an option's names that was typed; where that is not known, its first long one."""
    words = {word.partition("=")[0] for word in sys.argv[1:]}
    long = [name for name in names if name.startswith("--")]
    return next((name for name in long if name in words), [*long, *names][0])


def _path(error: click.UsageError) -> str:
    return error.ctx.command_path if error.ctx is not None else "gemmbench"


def _example(command: click.Command) -> str:
    """The example in the command's help; '' if it has none."""
    text = f"{command.help or ''} {command.epilog or ''}"
    return " ".join(text.partition("Example: ")[2].split())


def _commands(error: click.UsageError) -> list[str]:
    context = error.ctx
    if context is None or not isinstance(context.command, click.Group):
        return []
    return context.command.list_commands(context)
