"""Base and head: where the code of each side is, and with which interpreter its worker runs.

Three ways to make a base. A git revision is checked out in a worktree of its own, and whatever the
head would import from the repository is imported from there. Another interpreter brings its own
libraries, and is lent this gemmbench where it has none. Another backend is just another spec.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from gemmbench.backend import Location, locate_backend
from gemmbench.errors import GemmbenchError
from gemmbench.trial import Contender, Environment

GIT_SECONDS = 120.0
PROBE_SECONDS = 60.0
OLDEST_PYTHON = (3, 11)
NAMED_LIBRARIES = ("numpy", "numba", "scipy", "mkl", "torch", "gemmbench")
PROBE = """
import importlib.metadata as m, importlib.util as u, json, sys
found = {}
for name in sys.argv[1].split(","):
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
def there(name):
    try:
        return u.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
modules = {name: there(name) for name in sys.argv[2].split(",")}
print(json.dumps({"python": sys.version_info[:2], "versions": found, "modules": modules}))
"""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: the user's spec, and how to reach the code that it means here."""

    label: str  # for a reader, such as "main" or "numpy 2.3.1"
    spec: str  # as the user named it
    located: str  # the spec that leads to this side's code
    environment: Environment = field(default_factory=Environment)
    mark: tuple[tuple[str, str], ...] = ()  # what distinguishes it in the store
    folder: str = ""  # that its module must be imported from; "" for any

    def shown(self, contender: Contender) -> Contender:
        """`contender` of this side as it is stored: no folder that is gone tomorrow."""
        environment = Environment(self.environment.python, self.mark)
        return Contender(
            self.spec,
            contender.algorithm,
            contender.weights,
            contender.config,
            environment,
            contender.tuned,
        )


@dataclass(frozen=True, slots=True)
class Duo:
    """Base and head of one backend; `missing` says why there is no base to compare with."""

    base: Side
    head: Side
    missing: str = ""
    tree: str = ""  # of two revisions of one repository: what the working tree holds


@dataclass(frozen=True, slots=True)
class Sides:
    """All that is compared in one check, and what a reader should know about how."""

    duos: tuple[Duo, ...]
    notes: tuple[str, ...] = ()


def two_backends(base: str, head: str) -> Sides:
    """Two specs, side by side. Raises GemmbenchError for one that is not there."""
    for spec in (base, head):
        locate_backend(spec)
    duo = Duo(Side(base, base, base), Side(head, head, head))
    return Sides((duo,), (f"base is {base}, head is {head}",))


def itself(spec: str) -> Duo:
    """Identical code on both sides. Raises GemmbenchError if it is not there."""
    locate_backend(spec)
    return Duo(Side("base", spec, spec), Side("head", spec, spec))


@contextmanager
def at_revision(revision: str, specs: Sequence[str]) -> Iterator[Sides]:
    """Each spec as it is here against what it was at `revision`; the worktree is removed after.

    Raises GemmbenchError outside of a git repository, for an unknown revision, and for a backend
    whose code is not in the repository.
    """
    if not revision.strip("0") and revision:
        missing = "there is no commit before this one"
        yield Sides(tuple(Duo(_side("(none)", s), _side("head", s), missing) for s in specs))
        return
    root = Path(_git("rev-parse", "--show-toplevel").strip())
    commit = _commit(revision)
    label = revision if commit.startswith(revision) else f"{revision} ({commit[:10]})"
    inside = {spec: _place_in(root, spec) for spec in specs}
    state = working_tree(root)
    with _worktree(root, commit) as tree:
        duos = (_duo_at(root, tree, spec, inside[spec], label, commit) for spec in specs)
        yield Sides(
            tuple(replace(duo, tree=state) for duo in duos),
            (f"base is {label}, checked out in a worktree of its own",),
        )


@contextmanager
def with_python(python: str, specs: Sequence[str]) -> Iterator[Sides]:
    """Each spec in this interpreter against the same in `python`, of another environment.

    Where that has no gemmbench, this one is lent: only its own packages, by import path, so that
    NumPy and all else are still the other's. Raises GemmbenchError if that cannot work.
    """
    path = os.path.abspath(os.path.expanduser(python))  # not resolved: a venv's link names the venv
    modules = {spec: _top(locate_backend(spec)) for spec in specs}
    needed = ["gemmbench", "numpy", *filter(None, modules.values())]
    there, here = probe(path, needed), probe(sys.executable, needed)
    missing = [name for name in dict.fromkeys(needed) if not there["modules"][name]]
    if "numpy" in missing:
        raise GemmbenchError(
            f"--base-python: {python}: has no numpy. Run: {python} -m pip install numpy"
        )
    if tuple(there["python"]) < OLDEST_PYTHON:
        found = ".".join(map(str, there["python"]))
        raise GemmbenchError(
            f"--base-python: {python}: is Python {found}, 3.11 or newer is needed."
        )
    with _lent(missing) as folder:
        environment = Environment(path, (("PYTHONPATH", folder),))
        base, head = (_libraries(one["versions"], there, here) for one in (there, here))
        notes = [f"base is {python} with {base or 'the same libraries'}"]
        if missing:
            notes.append(f"it has no {' or '.join(missing)}, and is lent this one's")
        yield Sides(
            tuple(
                Duo(Side(base or python, spec, _absolute(spec), environment), _side(head, spec))
                for spec in specs
            ),
            tuple(notes),
        )


def probe(python: str, modules: Sequence[str]) -> dict[str, Any]:
    """What an interpreter says of itself: its version, library versions, which modules it finds.

    Raises GemmbenchError if it cannot be run.
    """
    command = [python, "-P", "-c", PROBE, ",".join(NAMED_LIBRARIES), ",".join(modules)]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if python == sys.executable:
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter the user named
            command,
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            env=variables,
            check=False,
        )
        found: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise GemmbenchError(
            f"--base-python: {python} is not a Python that can be run. Give the path of an "
            "interpreter, such as other-venv/bin/python; PATH is not searched."
        ) from error
    return found


def _libraries(own: dict[str, str], *both: dict[str, Any]) -> str:
    """'numpy 2.3.1, numba 0.61.0': those of `own` that differ between the interpreters."""
    first, second = (one["versions"] for one in both)
    differ = [n for n in NAMED_LIBRARIES if first.get(n) != second.get(n) and n in own]
    return ", ".join(f"{name} {own[name]}" for name in differ)


@contextmanager
def _lent(packages: Sequence[str]) -> Iterator[str]:
    """A folder with nothing but links to `packages` of this interpreter; '' if there are none."""
    if not packages:
        yield ""
        return
    with tempfile.TemporaryDirectory(prefix="gemmbench-lent-") as folder:
        for package in packages:
            origin = _origin(package)
            if origin is None:
                raise GemmbenchError(f"--base-python: has no module {package!r}. Install it there.")
            source = origin.parent if origin.name == "__init__.py" else origin
            (Path(folder) / source.name).symlink_to(source)
        yield folder


def _side(label: str, spec: str) -> Side:
    return Side(label or "this environment", spec, _absolute(spec))


def _absolute(spec: str) -> str:
    """`spec`, a file in it named from the root, as workers may run in another folder."""
    location = locate_backend(spec)
    is_file = location.module.endswith(".py")
    return f"{location.module}:{location.attribute}" if is_file else spec


def _top(location: Location) -> str:
    """The top-level package of a backend; '' for a file."""
    return "" if location.module.endswith(".py") else location.module.partition(".")[0]


def _origin(package: str) -> Path | None:
    """Where workers would import `package` from: they look in the working folder last."""
    found = importlib.util.find_spec(package) or PathFinder.find_spec(package, [str(Path.cwd())])
    if found is None:
        return None
    folders = list(found.submodule_search_locations or ())
    place = found.origin or (folders[0] if folders else "")  # without __init__.py: its folder
    return Path(place).resolve() if place else None


def _place_in(root: Path, spec: str) -> Path | None:
    """The file of a spec relative to the repository; None for a module in it."""
    location = locate_backend(spec)
    if location.module.endswith(".py"):
        path = Path(location.module)
        if path.is_relative_to(root):
            return path.relative_to(root)
    else:
        origin = _origin(_top(location))
        if origin is not None and origin.is_relative_to(root) and not _ignored(root, origin):
            return None
    raise GemmbenchError(
        f"--base-rev: backend {spec!r} is not in the git repository {root}, so it would be the "
        "same on both sides. Run this where its code is, installed with 'pip install -e' if it is "
        "imported by name, or use --base-python."
    )


def _duo_at(root: Path, tree: Path, spec: str, place: Path | None, label: str, commit: str) -> Duo:
    head = Side("the working tree", spec, _absolute(spec))
    environment = Environment("", (("PYTHONPATH", _import_path(root, tree)),))
    mark = (("GEMMBENCH_REVISION", commit),)
    if place is None:
        return Duo(Side(label, spec, spec, environment, mark, str(tree)), head)
    located = f"{tree / place}:{locate_backend(spec).attribute}"
    missing = "" if (tree / place).is_file() else f"{place} does not exist at {label}"
    return Duo(Side(label, spec, located, environment, mark), head, missing)


def _import_path(root: Path, tree: Path) -> str:
    """This interpreter's import path with the repository's folders replaced by the worktree's."""
    path = []
    for entry in (*filter(None, sys.path), str(Path.cwd())):
        folder = Path(entry).resolve()
        if not folder.is_relative_to(root):
            path.append(entry)
        elif (tree / folder.relative_to(root)).exists():
            path.append(str(tree / folder.relative_to(root)))
        elif _ignored(root, folder):
            path.append(entry)  # such as a virtual environment inside of the checkout
    return os.pathsep.join(path)


def _ignored(root: Path, path: Path) -> bool:
    """Whether git ignores `path`, so that it is no part of any revision."""
    done = _run_git("-C", str(root), "check-ignore", "-q", str(path))
    return done.returncode == 0


def _commit(revision: str) -> str:
    done = _run_git(
        "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
    )
    if done.returncode:
        raise GemmbenchError(
            f"--base-rev: git knows no commit {revision!r} here. A shallow clone lacks older "
            "commits: fetch it first (in GitHub Actions: fetch-depth: 0)."
        )
    return done.stdout.strip()


@contextmanager
def _worktree(root: Path, commit: str) -> Iterator[Path]:
    """A checkout of `commit` that is gone afterwards, from git's list of worktrees too."""
    with tempfile.TemporaryDirectory(prefix="gemmbench-base-") as folder:
        tree = Path(folder).resolve() / "tree"
        at = ("-C", str(root), "-c", "core.hooksPath=/dev/null")
        try:
            _git(*at, "worktree", "add", "--detach", "--quiet", str(tree), commit)
            yield tree
        finally:
            entry = _entry(tree)
            with suppress(GemmbenchError):  # the error that ends a check goes first
                _run_git(*at, "worktree", "remove", "--force", str(tree))
            shutil.rmtree(tree, ignore_errors=True)
            if entry is not None:
                shutil.rmtree(entry, ignore_errors=True)


def _entry(tree: Path) -> Path | None:
    """Git's own folder about the worktree `tree`. Not `prune`, which removes those of others."""
    try:
        entry = Path((tree / ".git").read_text().removeprefix("gitdir:").strip())
    except OSError:
        return None
    return entry if entry.parent.name == "worktrees" else None


def working_tree(root: Path) -> str:
    """Twelve hex digits of the commit that is checked out and of all changes to tracked files."""
    changes = _run_git("-C", str(root), "diff", "--binary", "--no-ext-diff", "HEAD").stdout
    commit = _run_git("-C", str(root), "rev-parse", "--verify", "--quiet", "HEAD").stdout
    return hashlib.sha256(f"{commit}{changes}".encode(errors="surrogateescape")).hexdigest()[:12]


def _git(*arguments: str) -> str:
    done = _run_git(*arguments)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["git failed"])[-1]
        raise GemmbenchError(f"--base-rev: {reason}. Run this inside of a git repository.")
    return done.stdout


def _run_git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - git, with arguments of our own
            ["git", *arguments],  # noqa: S607 - the user's git
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GemmbenchError(f"--base-rev: git cannot be run: {error}.") from error
