"""The commands of the Makefile: what they hand over, and what they say when they cannot run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from repository import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

SHOW_ARGUMENTS = f"""#!{sys.executable}
import sys
print("\\0".join(sys.argv[1:]), end="")
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


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make in the repository."""
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
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


def test_help_lists_every_target() -> None:
    shown = make("help").stdout
    for target in ("install", "quickstart", "test", "check", "fix", "bench"):
        assert f"\n{target} " in f"\n{shown}"


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
    done = make(f"VENV={tmp_path}", f"{tmp_path}/.installed-quickstart", *arguments, **bare)
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
