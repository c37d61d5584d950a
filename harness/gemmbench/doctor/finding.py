"""What an examination says of one thing: what was found, why it matters, what to do about it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Level(StrEnum):
    """How much a finding disturbs measurements; worst first."""

    WARNING = "warning"  # do something about it before figures are published
    NOTE = "note"  # good to know when a figure surprises
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `remedy` is empty where there is nothing to do."""

    name: str
    level: Level
    found: str
    why: str
    remedy: str = ""


def read(path: Path) -> str:
    """The text of a small file, stripped; '' where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def read_number(path: Path) -> int | None:
    """The number in a file; None where there is none, or where it says 'max'."""
    text = read(path)
    return int(text) if text.lstrip("-").isdigit() else None


def parse_cpus(text: str) -> list[int]:
    """CPU numbers of a kernel list: '0-3,8' is 0, 1, 2, 3, 8. Parts that are none are skipped."""
    cpus: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.strip().partition("-")
        if first.isdigit() and (last or first).isdigit():
            cpus += range(int(first), int(last or first) + 1)
    return cpus


def online_cpus(root: Path) -> list[int]:
    """CPUs that are switched on, as the kernel lists them; at least one."""
    return parse_cpus(read(root / "sys/devices/system/cpu/online")) or [0]
