"""A forked child encodes as its parent did, or is refused with a reason; nothing waits for ever."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

PATIENCE = 60  # seconds after which a child counts as one that never answers

PARENT = """
    import os, sys, threading, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on, forking with threads warns
    import numpy as np
    from decant.embedders import DecantError, ExecutionOptions, Role, load
    TEXTS = [f"what wind number {number} wants" for number in range(300)]
    encoder = load(sys.argv[1], runtime=ExecutionOptions(workers=2, threads=1))

    def dense(count):
        return encoder.encode(TEXTS[:count], role=Role.PASSAGE).dense

    def in_child(work):
        child = os.fork()
        if child == 0:
            work()
            sys.exit(5)  # not os._exit: gunicorn's workers end so
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status))
"""


def run(bundle: Path, code: str, **environment: str) -> list[str]:
    """Run the parent's script and return the lines that it and its child wrote."""
    script = textwrap.dedent(PARENT) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", script, str(bundle)],
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **environment},
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("setting", ["", "true", "false"])
def test_a_child_encodes_after_its_parent_has(tiny_bundle: Path, setting: str) -> None:
    code = """
        one, many = dense(1), dense(300)

        def work():
            print(np.abs(dense(1) - one).max() < 1e-6, np.abs(dense(200) - many[:200]).max() < 1e-6)
            in_child(lambda: print(np.abs(dense(300) - many).max() < 1e-6))  # and its own child

        in_child(work)
        print(np.array_equal(dense(300), many))
    """
    environment = {"TOKENIZERS_PARALLELISM": setting} if setting else {}
    lines = run(tiny_bundle, code, **environment)
    assert lines == ["True True", "True", "5", "5", "True"]


def test_a_child_forked_while_another_thread_encodes_is_not_held_up(tiny_bundle: Path) -> None:
    code = """
        many = dense(300)
        stop, begun = threading.Event(), threading.Event()

        def busy():
            while not stop.is_set():
                dense(300)
                begun.set()

        threads = [threading.Thread(target=busy) for _ in range(2)]
        for thread in threads:
            thread.start()
        begun.wait()
        for _ in range(4):
            in_child(lambda: print(np.abs(dense(300) - many).max() < 1e-6))
        stop.set()
        for thread in threads:
            thread.join()
    """
    assert run(tiny_bundle, code) == ["True", "5"] * 4


def test_vectors_that_the_parent_began_are_refused_in_the_child(tiny_bundle: Path) -> None:
    code = """
        stream = encoder.stream(TEXTS * 10, role=Role.PASSAGE)
        first = len(next(stream))

        def work():
            try:
                print(len(next(stream)))
            except DecantError as error:
                print(type(error).__name__, "before this process was forked" in str(error))

        in_child(work)
        print(first + sum(len(block) for block in stream))
    """
    assert run(tiny_bundle, code) == ["ProviderError True", "5", "3000"]


def test_a_closed_encoder_stays_closed_in_the_child(tiny_bundle: Path) -> None:
    code = """
        dense(300)
        encoder.close()

        def work():
            try:
                dense(1)
            except DecantError as error:
                print("is closed" in str(error))

        in_child(work)
    """
    assert run(tiny_bundle, code) == ["True", "5"]


def test_a_child_does_not_open_another_model_than_its_parent(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    code = """
        dense(300)
        graph = os.path.join(sys.argv[1], "onnx", "model.onnx")
        with open(graph, "ab") as file:
            file.write(b"x")

        def work():
            try:
                dense(1)
            except DecantError as error:
                print(type(error).__name__, "load the bundle again" in str(error))

        in_child(work)
        print(dense(300).shape)
    """
    assert run(bundle, code) == ["BundleError True", "5", "(300, 32)"]
