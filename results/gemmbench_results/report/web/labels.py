"""Names as charts show them: whole where there is room, cut or in lines where there is not.

Plotly takes tags such as <b> and <a href> in every text for markup, and entities for characters;
`$` would begin a formula if MathJax were there. All that is shown passes one of these functions.
"""

import re
from collections.abc import Sequence
from html import escape

from gemmbench_results.report.escape import one_line

LONGEST_LABEL = 44  # characters on an axis; the hover text has all
LABEL_LINE = 20  # characters of a line beside a plot, so that a phone has room for the plot
LEGEND_LINE = 34  # characters of a line in a legend: with its sign it fits a phone
LONGEST_IN_LEGEND = 2 * LEGEND_LINE
HOVER_LINE = 48
MORE = 8  # characters that are kept in addition where shorter labels would be alike
# Of a label, after which it may be broken: words, parts of a path or a module, no decimals.
PARTS = re.compile(r"(?:[^\s/._]|\.(?=\d))*(?:[\s/_]|\.(?!\d))|(?:[^\s/._]|\.(?=\d))+")


def place(text: str) -> str:
    """`text` as a place on an axis of names: never cut, or two of them could become one.

    Two kernels in one folder differ at the end of their names; `chart.categories` shows them cut.
    """
    return escape(one_line(text), quote=False)


def label(text: str, longest: int = LONGEST_LABEL) -> str:
    """`text` as Plotly shows it unchanged: one line, cut, without what it reads as markup."""
    return escape(_cut(one_line(text), longest), quote=False)


def broken(text: str, line: int = LABEL_LINE, longest: int = LONGEST_LABEL) -> str:
    """`text` as a label in lines of at most `line` characters, cut as `label` does."""
    return _joined(_lines(_cut(one_line(text), longest), line))


def hover(*texts: str) -> str:
    """Lines of a hover text, long ones in several and none cut, for figures end them."""
    return "<br>".join(_joined(_lines(one_line(text), HOVER_LINE)) for text in texts if text)


def labels(names: Sequence[str], longest: int = LONGEST_LABEL) -> list[str]:
    """Each of `names` as a label of one line; different names have different labels."""
    return [escape(short, quote=False) for short in distinct(names, longest)]


def axis_labels(names: Sequence[str]) -> list[str]:
    """As `labels`, in lines beside a plot."""
    return [_joined(_lines(short, LABEL_LINE)) for short in distinct(names)]


def legend_labels(names: Sequence[str]) -> list[str]:
    """As `labels`, in lines of a legend."""
    return [_joined(_lines(short, LEGEND_LINE)) for short in distinct(names, LONGEST_IN_LEGEND)]


def most_lines(names: Sequence[str]) -> int:
    """Of the labels of an axis of names."""
    return max((len(_lines(short, LABEL_LINE)) for short in distinct(names)), default=1)


def distinct(names: Sequence[str], longest: int = LONGEST_LABEL) -> list[str]:
    """`names` cut, without markup taken out; as different from each other as they were.

    Where cuts in the middle are alike, what all names have in common at both ends goes first, as
    in '…layer.3…', and then as much is kept as tells them apart.
    """
    whole = [one_line(name) for name in names]
    several = len(set(whole))
    shown = [_cut(name, longest) for name in whole]
    if len(set(shown)) == several:
        return shown
    own = _without_common(whole)
    while len(set(shown := [_cut(name, longest) for name in own])) < several:
        longest += MORE
    return shown


def _without_common(names: Sequence[str]) -> list[str]:
    """Each without the parts with which all names begin and end; '…' stands for them."""
    parts = [PARTS.findall(name) for name in dict.fromkeys(names)]
    first = _common(parts)
    last = _common([one[first:][::-1] for one in parts])
    return [_inner(PARTS.findall(name), first, last) for name in names]


def _common(parts: Sequence[Sequence[str]]) -> int:
    """How many parts all begin with, such that at least one is left of each."""
    most = min(len(one) for one in parts) - 1
    alike = (len({one[index] for one in parts}) == 1 for index in range(most))
    return next((index for index, same in enumerate(alike) if not same), max(most, 0))


def _inner(parts: Sequence[str], first: int, last: int) -> str:
    own = "".join(parts[first : len(parts) - last])
    return f"{'…' * bool(first)}{own}{'…' * bool(last)}"


def _cut(line: str, longest: int) -> str:
    """At most so many characters: names of one folder or network differ at both ends."""
    if len(line) <= longest:
        return line
    head, tail = longest // 2, longest - longest // 2 - 1
    return f"{line[:head].rstrip()}…{line[-tail:].lstrip()}"


def _lines(text: str, line: int) -> list[str]:
    """Broken after words and parts of a path as far as those are short enough."""
    lines = [""]
    for part in PARTS.findall(text):
        for start in range(0, len(part), line):
            piece = part[start : start + line]
            if lines[-1] and len((lines[-1] + piece).rstrip()) > line:
                lines.append("")
            lines[-1] += piece
    return [one.rstrip() for one in lines]


def _joined(lines: Sequence[str]) -> str:
    return "<br>".join(escape(one, quote=False) for one in lines)
