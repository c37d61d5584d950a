"""The one error that a user sees as a single line, and the wording helper behind it.

An error says *where: what was given, what is allowed. What to do.* Anything that is not a
`GemmbenchError` is a defect of gemmbench and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches

LISTED_CHOICES = 10  # longer lists are cut: a reader scans about ten names, not fifty


class GemmbenchError(Exception):
    """Bad input or an unusable environment: one line on stderr, exit code 2."""


def did_you_mean(given: str, choices: Iterable[str], most: int = LISTED_CHOICES) -> str:
    """' Did you mean X?' of a near choice, else ' Choose from …', at most `most`; '' of none."""
    names = sorted(set(choices))
    if not names:
        return ""
    near = get_close_matches(given, names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean {near[0]!r}?"
    shown = ", ".join(names[:most])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f" Choose from {shown}{more}."
