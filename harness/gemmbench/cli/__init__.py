"""The command line: click commands without logic, loaded only when they are called.

`gemmbench --help` imports neither numpy nor a store, so it is quick; each command's module is
imported when that command runs.
"""

import signal
import sys
from importlib import import_module

import click
from click.exceptions import NoArgsIsHelpError

from gemmbench import __version__
from gemmbench.errors import GemmbenchError

USAGE_ERROR = 2
INTERRUPTED = 130

COMMANDS = {  # name: (module, attribute, help line, shown without importing the module)
    "run": ("run", "run", "Race every way of computing the layers of a suite."),
    "tune": ("tune", "tune", "Search the tile sizes of a suite's layers."),
    "network": ("network", "network", "Time a forward pass, each layer by the best known way."),
    "best": ("best", "best", "Print the stored winners, also as JSON, YAML or a C header."),
    "compare": ("compare", "compare", "Compare the algorithms of convolutions; map who wins."),
    "report": ("report", "report", "Write what is stored about a suite as a page with charts."),
    "check": ("check", "check", "Fail if the head of two versions got slower than the base."),
    "aa": ("aa", "aa", "Try the gate of check on identical code: its false alarms here."),
    "machine": ("machine", "machine", "Print the machine, its FLOP peak and memory bandwidth."),
    "backends": ("backends", "backends", "List the backends, which are usable, and why not."),
    "suite": ("suite", "suite", "List, show and check suites."),
    "history": ("history", "history", "Show how times developed over comparable runs."),
    "doctor": ("doctor", "doctor", "Say what on this machine disturbs measurements."),
    "replay": ("replay", "replay", "Compare search strategies on recorded spaces."),
    "export": ("export", "export", "Write results in the formats of other programs."),
    "db": ("db", "db", "Inspect and upgrade the database of results."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed, not to print their names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All command names, in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, its module imported."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f"gemmbench.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in the help, from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: gemmbench run alexnet",
)
@click.version_option(__version__, prog_name="gemmbench")
def cli() -> None:
    """Race every way of computing a neural network's layers on this machine.

    gemmbench takes the layers of a network, runs every way of computing them as a fair race,
    tunes the kernels that have knobs, proves each answer right, and keeps every sample in SQLite.
    """


def main() -> None:
    """Run the command line. Bad input is one line on stderr and exit code 2."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # end like Ctrl-C: keep, clean up, 130
    try:
        code = cli.main(prog_name="gemmbench", standalone_mode=False)
    except NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except GemmbenchError as error:
        click.echo(f"gemmbench: error: {error}", err=True)
        sys.exit(USAGE_ERROR)
    except click.UsageError as error:
        from gemmbench.cli.usage import usage_line

        click.echo(f"gemmbench: error: {usage_line(error)}", err=True)
        sys.exit(USAGE_ERROR)
    except click.ClickException as error:
        click.echo(f"gemmbench: error: {error.format_message()}", err=True)
        sys.exit(USAGE_ERROR)
    except (click.Abort, KeyboardInterrupt):
        click.echo("gemmbench: interrupted", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
