"""How commands end: exit codes, messages, interruptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from command_line import Decant
from decant.cli.exit_codes import Exit, code_of, guarded
from decant.embedders import (
    BundleError,
    CollectionMismatch,
    DecantError,
    ExplanationError,
    MissingExtra,
    ParityError,
    ProviderError,
    QuantizationError,
    RecipeError,
    StoreError,
    TextError,
)
from decant.evaluation import EvaluationError
from decant.serving import (
    KeyRefused,
    Overloaded,
    RequestError,
    ServerStopping,
    SettingsError,
)
from decant.training import DataError, TrainingError

CODES = {
    ParityError: Exit.FINDING,
    RecipeError: Exit.INPUT,
    TextError: Exit.INPUT,
    BundleError: Exit.INPUT,
    CollectionMismatch: Exit.INPUT,
    ProviderError: Exit.ENVIRONMENT,
    MissingExtra: Exit.ENVIRONMENT,
    StoreError: Exit.ENVIRONMENT,
    EvaluationError: Exit.INPUT,
    QuantizationError: Exit.INPUT,
    ExplanationError: Exit.INPUT,
    DataError: Exit.INPUT,
    TrainingError: Exit.INPUT,
    SettingsError: Exit.INPUT,
}
# They are answers to clients of `decant serve`, which no command ends with.
ANSWERS = {RequestError, KeyRefused, Overloaded, ServerStopping}


@pytest.mark.parametrize("kind", CODES)
def test_each_kind_of_error_has_its_exit_code(kind: type[DecantError]) -> None:
    assert code_of(kind("what happened")) is CODES[kind]


def test_no_kind_of_error_is_forgotten() -> None:
    assert {*CODES, *ANSWERS} == {*DecantError.__subclasses__()}


def test_a_hub_id_without_a_network_is_the_environments_fault(decant: Decant) -> None:
    ran = decant("export", "acme/no-such-model", "made")
    assert ran.code == Exit.ENVIRONMENT
    assert "check the spelling and the network, or pass the folder" in " ".join(ran.err.split())
    assert "Traceback" not in ran.err


def test_a_full_disk_is_the_environments_fault() -> None:
    assert code_of(OSError(28, "No space left on device")) is Exit.ENVIRONMENT


def test_an_error_is_one_message_without_a_traceback(decant: Decant) -> None:
    ran = decant("inspect", "nowhere")
    assert ran.code == Exit.INPUT
    assert ran.out == ""
    assert ran.err.startswith("error: nowhere does not exist")
    assert len(ran.err.splitlines()) == 1


def test_with_debug_the_traceback_is_shown_too(decant: Decant) -> None:
    ran = decant.process("--debug", "inspect", "nowhere")
    assert ran.code == Exit.INPUT
    assert "Traceback" in ran.err
    assert "error: nowhere does not exist" in ran.err


def test_a_bug_shows_its_traceback_and_says_that_it_is_one(
    capfd: pytest.CaptureFixture[str],
) -> None:
    @guarded
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(typer.Exit) as caught:
        broken()
    assert caught.value.exit_code == Exit.BUG
    shown = capfd.readouterr().err
    assert "Traceback" in shown
    assert "bug in decant" in shown


def test_a_warning_of_decant_becomes_a_message_and_those_of_libraries_do_not_show(
    capfd: pytest.CaptureFixture[str],
) -> None:
    import logging
    import warnings

    @guarded
    def talkative() -> None:
        logging.getLogger("decant").warning("cuda did not open")
        logging.getLogger("some.library").warning("blah")
        warnings.warn("blah", stacklevel=1)

    talkative()
    assert capfd.readouterr().err == "warning: cuda did not open\n"


def test_an_interrupted_command_leaves_nothing_behind(
    decant: Decant, tiny_bundle: Path, tmp_path: Path
) -> None:
    command = decant.command("embed", tiny_bundle, "--role", "query", "-o", "vectors.npy")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stderr is not None
        first = running.stderr.readline()
        time.sleep(0.2)  # now it waits for texts
        running.send_signal(signal.SIGINT)
        _, rest = running.communicate(timeout=30)
    assert b"embedding" in first
    assert b"interrupted" in rest
    assert b"Traceback" not in rest
    assert running.returncode == Exit.INTERRUPTED
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to answer")
def test_a_terminated_export_leaves_nothing_behind(
    decant: Decant, tiny_folder: Path, tmp_path: Path
) -> None:
    command = decant.command("export", tiny_folder, tmp_path / "bundle")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stderr is not None
        while b"tracing" not in running.stderr.readline():
            assert running.poll() is None
        assert list(tmp_path.iterdir()) != []  # the folder in the making
        running.send_signal(signal.SIGTERM)
        _, rest = running.communicate(timeout=60)
    assert b"terminated; nothing is half-written" in rest
    assert b"Traceback" not in rest
    assert running.returncode == Exit.TERMINATED
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_is_no_error(decant: Decant, tiny_bundle: Path) -> None:
    command = decant.command("embed", tiny_bundle, "--role", "query")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        ran = subprocess.run(
            command, input=b"a\n", stdout=nobody, stderr=subprocess.PIPE, check=False
        )
    assert ran.returncode == Exit.CLOSED
    assert b"Traceback" not in ran.stderr
    assert b"error" not in ran.stderr
