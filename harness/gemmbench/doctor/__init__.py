"""What on this machine disturbs measurements, and what to do about it.

Everything is read from text files under a root folder and from given variables, so that any
machine can be examined from a copy of its /proc and /sys. Nothing is measured and nothing changed.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from gemmbench.doctor.busy import busy
from gemmbench.doctor.cpu import cpu
from gemmbench.doctor.environment import Installed, environment
from gemmbench.doctor.finding import Finding, Level
from gemmbench.doctor.limits import limits

__all__ = ["Finding", "Level", "examine", "is_installed"]


def is_installed(module: str) -> bool:
    """Whether a module could be imported, without importing more than its parents."""
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


def examine(
    root: Path, variables: Mapping[str, str], installed: Installed = is_installed
) -> list[Finding]:
    """All findings, the worst first, otherwise in a fixed order.

    `root` holds `proc` and `sys`; what a machine does not show is left out.
    """
    found = [*busy(root), *cpu(root), *limits(root), *environment(root, variables, installed)]
    return sorted(found, key=lambda finding: list(Level).index(finding.level))
