"""The commands of the Makefile: what they hand over, and what they say when they cannot run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from repository import ROOT, folder

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

SHOW_ARGUMENTS = f"""#!{sys.executable}
import sys
print("\\0".join(sys.argv[1:]), end="")
"""

PYTHON_THAT_INSTALLS_NOTHING = """#!/bin/sh
[ "$2" = pip ] || exec "${0%python}kept" "$@"
"""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Return what make takes for an installed environment; its `decant` shows its arguments."""
    command = tmp_path / "bin" / "decant"
    command.parent.mkdir()
    command.write_text(SHOW_ARGUMENTS)
    command.chmod(0o755)
    for name in (".made", ".installed-quickstart"):
        (tmp_path / name).touch()
    return tmp_path


def make(
    *arguments: str, folder: Path = ROOT, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run make in the repository, or in another folder with a Makefile."""
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def test_the_quick_start_runs_without_arguments(environment: Path) -> None:
    assert make(f"VENV={environment}", "quickstart").stdout == "quickstart"


@pytest.mark.parametrize(
    "text",
    [
        "how do I run a command?",
        "it's",
        'say "hello" twice',
        "a `backtick`, $HOME, $$, $(shell echo no) and 100%",
        "back\\slash; exit 9 # not a comment",
        "-starts-with-a-dash",
        "日本語",
    ],
)
def test_folder_and_query_reach_the_command_as_they_were_typed(
    environment: Path, text: str
) -> None:
    done = make(f"VENV={environment}", "quickstart", f"DOCS={text}", f"QUERY={text}")
    assert done.stdout.split("\0") == ["quickstart", f"--docs={text}", f"--query={text}"]


def test_the_query_alone_can_be_given(environment: Path) -> None:
    done = make(f"VENV={environment}", "quickstart", "QUERY=who approves a PEP?")
    assert done.stdout.split("\0") == ["quickstart", "--query=who approves a PEP?"]


def targets(folder: Path = ROOT) -> dict[str, bool]:
    """Return the targets that are commands and no files, as make knows them: which are phony."""
    database = make("-pnRr", "help", folder=folder).stdout.partition("\n# Files\n")[2]
    phony = {}
    for entry in database.split("\n\n"):
        named = re.match(r"(?:# .*\n)*([\w-]+):", entry.lstrip("\n"))  # files have a dot or a slash
        if named is not None and "# Not a target" not in entry:
            phony[named[1]] = "#  Phony target" in entry
    return phony


def flaws(folder: Path = ROOT) -> set[str]:
    """Return what the help of a Makefile leaves out, and which targets are not phony."""
    lines = make("help", folder=folder).stdout.splitlines()
    shown = {name: text.split() for name, _, text in (line.partition(" ") for line in lines)}
    found = targets(folder)
    return {
        *(f"help does not list {target}" for target in found.keys() - shown.keys()),
        *(f"help lists {target}, which is no target" for target in shown.keys() - found.keys()),
        *(f"help says too little of {target}" for target, words in shown.items() if len(words) < 3),
        *(f"{target} is not .PHONY" for target, phony in found.items() if not phony),
    }


def test_what_make_installs_is_found_by_type_checkers_and_at_run_time(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is in the extra `dev` alone")
    home = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    python.rename(python.with_name("kept"))
    python.write_text(PYTHON_THAT_INSTALLS_NOTHING)
    python.chmod(0o755)
    (home / ".made").touch()
    done = make(f"VENV={home}", f"{home}/.installed-cpu")
    assert done.returncode == 0, done.stderr
    file = tmp_path / "user.py"
    file.write_text("from decant.embedders import Role\nreveal_type(Role.QUERY.value)\n")
    checked = run_mypy(file, home / "bin" / "kept")
    assert "Revealed type is \"Literal['query']?\"" in checked
    assert "Success" in checked
    shown = [str(home / "bin" / "kept"), "-I", "-c", "import decant; print(decant.__file__)"]
    found = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).resolve() == folder("decant") / "__init__.py"


def run_mypy(file: Path, python: Path) -> str:
    """Return what mypy says of a file outside the repository, in the environment of ``python``."""
    options = ["--config-file=", "--cache-dir", str(file.parent / "cache"), "--python-executable"]
    command = [sys.executable, "-m", "mypy", *options, str(python), file.name]
    return subprocess.run(
        command, cwd=file.parent, capture_output=True, text=True, check=False
    ).stdout


def test_help_lists_every_target() -> None:
    assert {"help", "install", "quickstart", "test", "check"} <= targets().keys()
    assert flaws() == set()


@pytest.mark.parametrize(
    ("old", "new", "flaw"),
    [
        ("  ## repair what the linter can, and format", "", "help does not list fix"),
        ("repair what the linter can, and format", "repair", "help says too little of fix"),
        (" check fix ", " check ", "fix is not .PHONY"),
    ],
)
def test_a_target_that_help_leaves_out_is_seen(
    tmp_path: Path, old: str, new: str, flaw: str
) -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert text.count(old) == 1
    (tmp_path / "Makefile").write_text(text.replace(old, new), encoding="utf-8")
    assert flaws(tmp_path) == {flaw}


def test_an_interpreter_that_is_too_old_is_refused_by_name(tmp_path: Path) -> None:
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make(f"VENV={tmp_path / 'new'}", f"PYTHON={old}", "install")
    assert done.returncode != 0
    assert "Python 3.11 or newer" in done.stderr + done.stdout
    assert str(old) in done.stderr + done.stdout
    assert not (tmp_path / "new").exists()


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """Return variables for an environment without packages, on Linux; its pip shows its words."""
    (tmp_path / "bin").mkdir()
    for name, script in (("python", SHOW_ARGUMENTS), ("uname", "#!/bin/sh\necho Linux x86_64\n")):
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / ".made").touch()
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    return {"PATH": path, "PIP_INDEX_URL": "", "PIP_EXTRA_INDEX_URL": ""}


def install(tmp_path: Path, bare: dict[str, str], *arguments: str) -> tuple[str, str]:
    """Return what make told pip, and what it told the user."""
    done = make(
        f"VENV={tmp_path}", f"{tmp_path}/.installed-quickstart", *arguments, environment=bare
    )
    return done.stdout, done.stderr


def test_a_large_download_is_told_before_it_begins_and_a_smaller_one_named(
    tmp_path: Path, bare: dict[str, str]
) -> None:
    pip, told = install(tmp_path, bare)
    assert "--extra-index-url" not in pip
    assert "5.4 GB on disk" in told
    assert "TORCH_INDEX=https://download.pytorch.org/whl/cpu" in told


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["TORCH_INDEX=https://example.org/cpu"], {}),
        (["PIP_FLAGS=--index-url=https://example.org/cpu"], {}),
        ([], {"PIP_EXTRA_INDEX_URL": "https://example.org/cpu"}),
    ],
    ids=["TORCH_INDEX", "PIP_FLAGS", "environment"],
)
def test_who_names_an_index_is_told_nothing(
    tmp_path: Path, bare: dict[str, str], arguments: list[str], environment: dict[str, str]
) -> None:
    pip, told = install(tmp_path, {**bare, **environment}, *arguments)
    assert "GB" not in told
    if arguments:
        words = pip.split("\0")
        assert any("https://example.org/cpu" in word for word in words)
