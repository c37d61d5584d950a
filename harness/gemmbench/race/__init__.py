"""The one measuring engine: contenders take turns, in random order, until the answer is known.

A race is run in heats. Each heat starts fresh processes, one for each backend, prepares and
verifies the contenders in them, and asks each for a block of calls in every round. Contenders
that are plainly slow leave after their first block; the leading ones go on to the next heat,
because a winner is only named when several fresh processes agree. What goes in and comes out is
plain data: nothing here knows the store or the terminal.

`spec` says what is asked for, `race` holds one race and turns its entrants into trials, `heat` is
what can be done with entrants in the processes of `workers`, `rounds` and `course` are the order
in which a race does it: within one heat, and from heat to heat. Searches and `check` use heats in
an order of their own.
"""

from gemmbench.race.course import run_race
from gemmbench.race.entrant import Entrant
from gemmbench.race.heat import Heat, block_loops
from gemmbench.race.race import Race
from gemmbench.race.spec import (
    Limits,
    OpenLink,
    RaceSpec,
    Setting,
    Talks,
    Yardstick,
    full_config,
)
from gemmbench.race.stages import stage_repeats, stage_seconds

__all__ = [
    "Entrant",
    "Heat",
    "Limits",
    "OpenLink",
    "Race",
    "RaceSpec",
    "Setting",
    "Talks",
    "Yardstick",
    "block_loops",
    "full_config",
    "run_race",
    "stage_repeats",
    "stage_seconds",
]
