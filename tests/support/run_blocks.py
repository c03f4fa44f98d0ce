"""Run the blocks of a page in a reader's folder: Python here, commands of a shell as processes.

But for ``decant export``, which runs here: another process would import torch once more.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import Decant
from readme import SHELLS, Block
from repository import EXTRAS, ROOT

TIME_LIMIT = 300


def run_block(block: Block, names: dict[str, object], stage: Path, *, page: Path) -> None:
    """Run a block of Python with the names of those before it, or the commands of a shell's."""
    if block.language == "python":
        run_python(block, names, file=page)
    elif block.language in SHELLS:
        for command in block.commands():
            run_command(command, stage, shown=f"{page.name} line {block.line}: {command}")


def run_python(block: Block, names: dict[str, object], *, file: Path) -> None:
    """Run a block with the names of those before it; ``>>>`` blocks are compared too."""
    if block.body.lstrip().startswith(">>>"):
        test = doctest.DocTestParser().get_doctest(
            block.body, names, file.stem, str(file), block.line - 1
        )
        said: list[str] = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        failed = runner.run(test, out=said.append, clear_globs=False).failed
        names.update(test.globs)
        assert failed == 0, "".join(said)
        return
    # The empty lines let a traceback point at the file's own line.
    exec(compile("\n" * (block.line - 1) + block.body, str(file), "exec"), names)


def run_command(command: str, stage: Path, *, shown: str) -> None:
    """Run one command, or check what would install or restart this very run."""
    words = shlex.split(command, comments=True)
    match words:
        case ["decant", "export", *arguments] if not {"|", ">", "&&", ";"} & {*arguments}:
            ran = Decant()("export", *arguments)
            assert ran.code == 0, f"{shown} failed:\n{ran.out}\n{ran.err}"
        case ["decant" | "python", *_]:
            run_process(["/bin/sh", "-ec", command], stage, shown=shown)
        case ["make", *targets]:
            known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
            assert {word for word in targets if "=" not in word} <= known, shown
        case ["pip", "install", *wanted]:
            for word in wanted:
                check_wanted(word, shown)
        case ["git" | "cd" | "source" | ".", *_]:
            pass  # how to get here; the test is here already
        case _:
            pytest.fail(f"{shown}: a command that this test does not know; teach it or mark it")


def check_wanted(word: str, shown: str) -> None:
    """Refuse what is not our own distribution with extras that it has."""
    found = re.fullmatch(r"(?:decant-qdrant|\.)(?:\[([\w,-]+)\])?", word)
    assert word == "-e" or found, f"{shown}: only our own package is installed"
    assert not found or set((found[1] or "cpu").split(",")) <= EXTRAS, shown


def run_process(command: list[str], stage: Path, *, shown: str) -> None:
    """Run a command in the reader's folder with our environment first on the PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=stage,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"{shown} failed:\n{done.stdout}\n{done.stderr}"
