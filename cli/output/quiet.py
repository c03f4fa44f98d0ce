"""Keep logs and warnings of libraries out of our output.

With ``--debug`` (``DECANT_DEBUG=1``) everything is shown.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from decant.embedders.errors import need

from .terminal import logs_json, say

DEBUG = "DECANT_DEBUG"
# Read by the libraries when they are imported, which is after this.
_ENVIRONMENT = {"TRANSFORMERS_VERBOSITY": "error"}


def debugging() -> bool:
    """Return whether the user set ``--debug``."""
    return os.environ.get(DEBUG, "") not in ("", "0")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings and logs of libraries; print warnings of decant as messages."""
    if debugging():
        logging.basicConfig(level=logging.INFO)
        yield
        return
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    ours, nobody = _Ours(logging.WARNING), logging.NullHandler()
    logging.getLogger("decant").addHandler(ours)
    # With a handler at the root, Python's last resort does not write to stderr.
    logging.getLogger().addHandler(nobody)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("decant").removeHandler(ours)
        logging.getLogger().removeHandler(nobody)


def no_more_download_bars() -> None:
    """Turn off the progress bars of huggingface_hub after downloads, and those of Transformers.

    When Transformers is imported, it takes from there whether to draw bars of its own; where it
    reads GGUF files it asks tqdm alone.
    """
    if not debugging():
        os.environ.setdefault("TQDM_DISABLE", "1")
        need("huggingface_hub.utils", extra="export").disable_progress_bars()


class _Ours(logging.Handler):
    """A handler that prints log records of decant as messages."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logs_json():  # where the record is written already
            say(record.getMessage(), label="warning", style="yellow")


@contextmanager
def silenced() -> Iterator[None]:
    """Discard what native code writes to stdout and stderr; ``sys.stderr`` still works.

    ONNX Runtime's CUDA build writes to both about missing libraries, which would end up between
    the lines of JSON. The same is raised as an error anyway.
    """
    if debugging():
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    python_stderr = sys.stderr
    try:
        if _is_descriptor(python_stderr, 2):
            sys.stderr = os.fdopen(os.dup(saved[2]), "w", buffering=1, errors="replace")
        sink = os.open(os.devnull, os.O_WRONLY)
        for descriptor in saved:
            os.dup2(sink, descriptor)
        os.close(sink)
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        for descriptor, original in saved.items():
            os.dup2(original, descriptor)
            os.close(original)
        if sys.stderr is not python_stderr:
            sys.stderr.close()
            sys.stderr = python_stderr


def _is_descriptor(stream: object, number: int) -> bool:
    try:
        return isinstance(stream, io.IOBase) and stream.fileno() == number
    except OSError:  # a stream in memory
        return False
