"""What reaches the terminal: ours and nothing else, in colours only where they are wanted."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.cli.output.quiet import silenced
from decant.cli.output.terminal import printable
from decant.cli.output.views import floored

CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def test_native_noise_is_swallowed_and_our_messages_are_not(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with silenced():
        os.write(1, b"noise of a library on stdout")
        os.write(2, b"noise of a library on stderr")
        sys.stdout.write("noise of Python on stdout")
    sys.stdout.write("after\n")
    sys.stderr.write("ours\n")
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("after\n", "ours\n")


def test_silence_ends_when_an_error_passes(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), silenced():
        raise ZeroDivisionError
    os.write(1, b"heard")
    assert capfd.readouterr().out == "heard"


def test_messages_during_silence_still_reach_a_real_stderr() -> None:
    script = (
        "import os, sys\n"
        "from decant.cli.output.quiet import silenced\n"
        "from decant.cli.output.terminal import say\n"
        "with silenced():\n"
        "    os.write(2, b'noise')\n"
        "    say('certifying')\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert ran.stderr == b"certifying\n"


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\rb", "a\x00b", "a\u202eb"])
def test_what_could_steer_a_terminal_becomes_a_space(text: str) -> None:
    assert printable(text).replace("[2J", "") == "a b"


def test_letters_of_all_scripts_and_line_ends_stay() -> None:
    assert printable("naïve 日本\nline 👩") == "naïve 日本\nline 👩"


def test_a_cosine_is_never_rounded_up_to_one() -> None:
    assert floored(0.99999999999) == "0.9999999"
    assert floored(1.0) == "1.0000000"


def test_a_terminal_without_unicode_still_gets_hits(
    decant: Decant, tiny_bundle: Path, notes: Path
) -> None:
    (notes / "cafe.txt").write_text("naïve café " * 40, encoding="utf-8")
    assert decant("index", tiny_bundle, notes).code == Exit.OK
    ran = decant.process(
        "search", tiny_bundle, "cafe", "--source", "cafe.txt", PYTHONIOENCODING="ascii"
    )
    assert ran.code == Exit.OK
    assert "na?ve caf?" in ran.out
    as_json = decant.process(
        "search", tiny_bundle, "cafe", "--source", "cafe.txt", "--json", PYTHONIOENCODING="ascii"
    )
    assert "naïve café" in as_json.out


def test_a_bar_is_drawn_on_a_terminal_within_its_width_and_gone_in_the_end(
    decant: Decant, tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("hello\n" * 3000)
    seen = on_terminal(
        decant.command("embed", tiny_bundle, "texts.txt", "--role", "query", "-o", "v.npy")
    )
    assert b"\x1b[" in seen
    lines = re.split(rb"[\r\n]+", CONTROL.sub(b"", seen))
    assert any(line.decode().strip().startswith(("⠋", "⠙", "⠹")) for line in lines)
    assert max(len(line.decode()) for line in lines) <= 80
    assert lines[-2].decode().startswith("3,000 texts, 32 wide")


def test_colours_are_left_out_where_no_color_is_set(decant: Decant) -> None:
    colourful = on_terminal(decant.command("inspect", "nowhere"))
    plain = on_terminal(decant.command("inspect", "nowhere"), NO_COLOR="1")
    assert b"\x1b[1;31m" in colourful
    assert b"31m" not in plain


def on_terminal(command: list[str], **environment: str) -> bytes:
    """Run a command on a pseudo-terminal of 80 columns and return everything that it wrote."""
    ours, theirs = pty.openpty()
    inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    env = {**inherited, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", **environment}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as running:
        os.close(theirs)
        seen = io.BytesIO()
        while True:
            ready, _, _ = select.select([ours], [], [], 60)
            try:
                data = os.read(ours, 4096) if ready else b""
            except OSError:  # Linux: the other side is closed
                data = b""
            if not data:
                break
            seen.write(data)
        running.wait(timeout=60)
    os.close(ours)
    return seen.getvalue()


def test_lines_for_a_pipe_are_never_broken_nor_filled_with_blanks(decant: Decant) -> None:
    """Whatever COLUMNS is: `decant … | cat` keeps a path or a hint in one piece."""
    ran = decant.process("strategies", COLUMNS="40")
    lines = ran.out.splitlines()
    assert max(map(len, lines)) > 100
    assert all(line == line.rstrip() for line in lines)
    rows = decant("strategies", "--json").json["strategies"]
    assert isinstance(rows, list)
    for row in rows:
        assert any(line.endswith(row["purpose"]) for line in lines), row


def test_wrong_input_is_told_in_one_line_to_a_pipe(decant: Decant) -> None:
    long = "no-such-folder/" * 12 + "texts.txt"
    ran = decant.process("embed", "bundle", long, "--role", "query", COLUMNS="60")
    assert ran.code == Exit.INPUT
    assert long in ran.err
    assert "│" not in ran.err


def test_a_hint_at_an_extra_is_one_line_in_a_pipe(decant: Decant, tiny_bundle: Path) -> None:
    ran = decant.without("onnxruntime", "embed", tiny_bundle, "--role", "query")
    assert ran.code == Exit.ENVIRONMENT
    assert len(ran.err.splitlines()) == 1
    assert "pip install" in ran.err
