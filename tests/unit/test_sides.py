"""Where base and head are: git revisions, other interpreters, other backends."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from gemmbench import sides as sides_module
from gemmbench.errors import GemmbenchError
from gemmbench.sides import Duo, at_revision, probe, two_backends, with_python
from gemmbench.trial import Contender, Environment

KERNEL = "class MyGemm:\n    name = {name!r}\n"


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
    command = ["git", *who, *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits: one without a kernel, one with; and a changed kernel in the working tree."""
    folder = tmp_path / "repo"
    (folder / "kernels").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / "README").write_text("nothing yet")
    git(folder, "add", "."), git(folder, "commit", "-qm", "first")
    (folder / "kernels" / "mine.py").write_text(KERNEL.format(name="committed"))
    git(folder, "add", "."), git(folder, "commit", "-qm", "second")
    (folder / "kernels" / "mine.py").write_text(KERNEL.format(name="changed"))
    monkeypatch.chdir(folder)
    return folder


SPEC = "./kernels/mine.py:MyGemm"


def code_of(located: str) -> str:
    return Path(located.rpartition(":")[0]).read_text()


def test_base_is_the_file_at_the_revision_and_head_the_one_that_is_there(
    repository: Path,
) -> None:
    with at_revision("HEAD", [SPEC]) as sides:
        (duo,) = sides.duos
        assert "committed" in code_of(duo.base.located)
        assert "changed" in code_of(duo.head.located)
        assert not duo.missing
        assert duo.base.label.startswith("HEAD (")


def test_the_worktree_is_gone_afterwards_also_after_an_error(repository: Path) -> None:
    places = []
    with at_revision("HEAD", [SPEC]) as sides:
        places.append(sides.duos[0].base.located)
    with pytest.raises(KeyboardInterrupt), at_revision("HEAD", [SPEC]) as sides:  # noqa: PT012
        places.append(sides.duos[0].base.located)
        raise KeyboardInterrupt
    assert not any(Path(place.rpartition(":")[0]).exists() for place in places)
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_other_worktrees_of_the_user_are_left_alone(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"))
    (tmp_path / "tree").rename(tmp_path / "unmounted")
    with at_revision("HEAD", [SPEC]):
        pass
    (tmp_path / "unmounted").rename(tmp_path / "tree")
    assert git(tmp_path / "tree", "rev-parse", "HEAD") == git(repository, "rev-parse", "HEAD")
    assert len(git(repository, "worktree", "list").splitlines()) == 2


def test_git_that_fails_in_the_end_hides_no_error_and_leaves_no_entry(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sides_module._run_git

    def hangs(*arguments: str) -> subprocess.CompletedProcess[str]:
        if "remove" in arguments:
            raise GemmbenchError("timed out")
        return real(*arguments)

    monkeypatch.setattr(sides_module, "_run_git", hangs)
    with pytest.raises(KeyboardInterrupt), at_revision("HEAD", [SPEC]):
        raise KeyboardInterrupt
    assert len(git(repository, "worktree", "list").splitlines()) == 1


@pytest.mark.parametrize("marked", [True, False])
def test_a_module_of_the_working_folder_is_found_like_by_run(
    repository: Path, marked: bool
) -> None:
    if marked:
        (repository / "kernels" / "__init__.py").write_text("")
    with at_revision("HEAD", ["kernels.mine:MyGemm"]) as sides:
        (duo,) = sides.duos
        assert duo.base.located == "kernels.mine:MyGemm"
        assert Path(duo.base.folder, "kernels", "mine.py").is_file()


def test_the_working_tree_is_told_by_its_commit_and_its_changes(repository: Path) -> None:
    found = []
    for change in (None, KERNEL.format(name="again"), KERNEL.format(name="changed")):
        if change is not None:
            (repository / "kernels" / "mine.py").write_text(change)
        with at_revision("HEAD", [SPEC]) as sides:
            found.append(sides.duos[0].tree)
    assert found[0] == found[2] != found[1]


def test_hooks_of_the_repository_are_not_run(repository: Path) -> None:
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {repository}/ran\n")
    hook.chmod(0o755)
    with at_revision("HEAD", [SPEC]):
        pass
    assert not (repository / "ran").exists()


def test_a_file_that_did_not_exist_then_is_a_missing_base(repository: Path) -> None:
    with at_revision("HEAD~1", [SPEC]) as sides:
        assert sides.duos[0].missing.startswith("kernels/mine.py does not exist at HEAD~1")


def test_the_commit_before_a_branchs_first_is_a_missing_base(repository: Path) -> None:
    with at_revision("0" * 40, [SPEC]) as sides:
        assert sides.duos[0].missing == "there is no commit before this one"


def test_the_import_path_leads_into_the_worktree(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / ".gitignore").write_text(".venv\n")
    (repository / ".venv").mkdir()
    (repository / "new").mkdir()
    (repository / "new" / "module.py").write_text("")
    own = [str(repository / name) for name in ("kernels", ".venv", "new")]
    monkeypatch.setattr(sys, "path", [*own, *sys.path])
    with at_revision("HEAD", [SPEC]) as sides:
        ((name, value),) = sides.duos[0].base.environment.variables
        paths = value.split(os.pathsep)
        tree = Path(sides.duos[0].base.located.rpartition(":")[0]).parents[1]
        assert name == "PYTHONPATH"
        assert paths[:2] == [str(tree / "kernels"), str(repository / ".venv")]
        assert str(repository / "new") not in paths
        assert paths[-1] == str(tree)


def test_what_is_stored_of_a_base_names_the_commit_and_no_folder(repository: Path) -> None:
    with at_revision("HEAD", [SPEC]) as sides:
        base = sides.duos[0].base
        shown = base.shown(Contender(base.located, "gemm", environment=base.environment))
    commit = git(repository, "rev-parse", "HEAD")
    assert shown.backend == SPEC
    assert shown.environment == Environment("", (("GEMMBENCH_REVISION", commit),))


@pytest.mark.parametrize("revision", ["nowhere", "--help", ""])
def test_an_unknown_revision_is_bad_input(repository: Path, revision: str) -> None:
    with pytest.raises(GemmbenchError, match="knows no commit"), at_revision(revision, [SPEC]):
        pass


def test_a_backend_outside_of_the_repository_is_bad_input(repository: Path) -> None:
    with (
        pytest.raises(GemmbenchError, match="would be the same on both sides"),
        at_revision("HEAD", ["gemmbench.control:Control"]),
    ):
        pass


def test_no_repository_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(KERNEL.format(name="x"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with (
        pytest.raises(GemmbenchError, match="inside of a git repository"),
        at_revision("HEAD", ["./mine.py:MyGemm"]),
    ):
        pass


def test_two_backends_are_two_specs() -> None:
    (duo,) = two_backends("gemmbench.control:Control", "made.up:Other").duos
    assert isinstance(duo, Duo)
    assert (duo.base.spec, duo.head.label) == ("gemmbench.control:Control", "made.up:Other")
    with pytest.raises(GemmbenchError, match="is unknown"):
        two_backends("nothing", "made.up:Other")


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with NumPy and nothing else."""
    folder = tmp_path_factory.mktemp("other")
    venv.create(folder, with_pip=False, symlinks=True)
    packages = next((folder / "lib").glob("python*/site-packages"))
    source = Path(np.__file__).parent.parent
    for found in source.glob("numpy*"):
        (packages / found.name).symlink_to(found)
    return folder / "bin" / "python"


def test_an_interpreter_says_what_it_has(other_python: Path) -> None:
    found = probe(str(other_python), ["numpy", "gemmbench"])
    assert found["versions"] == {"numpy": np.__version__}
    assert found["modules"] == {"numpy": True, "gemmbench": False}


def test_an_interpreter_without_gemmbench_is_lent_only_gemmbench(other_python: Path) -> None:
    with with_python(str(other_python), ["gemmbench.control:Control"]) as sides:
        (duo,) = sides.duos
        ((_, folder),) = duo.base.environment.variables
        assert os.listdir(folder) == ["gemmbench"]
        assert duo.base.environment.python == str(other_python)
        assert duo.head.environment == Environment()
        assert "has no gemmbench, and is lent this one's" in sides.notes[1]
    assert not Path(folder).exists()


def test_an_interpreter_without_numpy_is_bad_input(tmp_path: Path) -> None:
    venv.create(tmp_path, with_pip=False, symlinks=True)
    with (
        pytest.raises(GemmbenchError, match="pip install numpy"),
        with_python(str(tmp_path / "bin" / "python"), ["gemmbench.control:Control"]),
    ):
        pass


@pytest.mark.parametrize("path", ["/nowhere/python", "/bin/true"])
def test_what_is_no_python_is_bad_input(path: str) -> None:
    with (
        pytest.raises(GemmbenchError, match="not a Python that can be run"),
        with_python(path, ["gemmbench.control:Control"]),
    ):
        pass
