"""``decant --help`` and its commands: what they say, and what saying it costs."""

from __future__ import annotations

import inspect
import re
import resource
import subprocess
import sys

import pytest

from command_line import Decant
from decant.cli.exit_codes import CODES, Exit
from decant.cli.main import _COMMANDS
from fresh_process import loaded_by_import
from repository import PROJECT

HEAVY = {"numpy", "onnxruntime", "qdrant_client", "qdrant_edge", "tokenizers", "torch"}


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_explains_itself_with_an_example(decant: Decant, name: str) -> None:
    ran = decant(name, "--help")
    assert ran.code == Exit.OK
    assert "Examples:" in ran.out
    assert re.search(rf"^ *(echo .*\| )?decant {name}\b", ran.out, re.MULTILINE)


@pytest.mark.parametrize("name", _COMMANDS)
def test_no_line_of_an_explanation_is_broken_on_80_columns(name: str) -> None:
    lines = inspect.cleandoc(_COMMANDS[name].__doc__ or "").splitlines()
    assert max(map(len, lines)) <= 78


def test_the_help_lists_every_command_and_every_exit_code(decant: Decant) -> None:
    ran = decant("--help")
    assert all(name in ran.out for name in _COMMANDS)
    documented = {int(found) for found in re.findall(r"^ *(\d+)  ", CODES, re.MULTILINE)}
    assert documented == set(Exit)
    assert all(line.rstrip() in ran.out for line in CODES.splitlines())


@pytest.mark.parametrize("words", [[], ["list"], ["train"], ["train", "simcse"], ["train", "mine"]])
def test_flags_have_no_type_in_the_help(decant: Decant, words: list[str]) -> None:
    shown = decant(*words, "--help").out
    assert "--help" in shown
    assert "<bool>" not in shown
    assert "BOOLEAN" not in shown


def test_without_a_command_the_help_is_shown(decant: Decant) -> None:
    assert "Usage: " in decant().out


def test_the_version_is_the_projects(decant: Decant) -> None:
    assert decant("--version").out == f"decant {PROJECT['project']['version']}\n"


def test_an_unknown_option_is_wrong_usage(decant: Decant) -> None:
    ran = decant("search", "--no-such-option")
    assert ran.code == Exit.INPUT
    assert "no-such-option" in ran.err


def test_nothing_heavy_is_loaded_before_a_command_needs_it() -> None:
    assert loaded_by_import("decant.cli.main", python=sys.executable) & HEAVY == set()


def test_the_help_takes_less_than_a_second_of_computing() -> None:
    # 0.3 on a free core; two threads on one core take up to twice that.
    assert min(_seconds_of_help() for _ in range(3)) < 0.8


def test_the_shell_completes_commands_and_options(decant: Decant) -> None:
    def completed(*words: str) -> list[str]:
        ran = decant.process(
            _DECANT_COMPLETE="complete_bash", COMP_WORDS=" ".join(words), COMP_CWORD="1"
        )
        return ran.out.split()

    assert completed("decant", "sea") == ["search"]
    assert "models" in completed("decant", "")
    assert "--install-completion" in completed("decant", "--i")


def test_the_completion_script_is_shown(decant: Decant) -> None:
    ran = decant.process(
        "--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert ran.code == Exit.OK
    assert "_DECANT_COMPLETE=complete_bash" in ran.out
    assert "--install-completion" in decant("--help").out


def _seconds_of_help() -> float:
    """Return the processor time, which other work on this machine does not change."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "decant.cli", "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
