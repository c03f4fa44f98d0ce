"""Servers to measure, each in a process of its own: decant's, and what people write instead."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from decant.embedders import DecantError

NAME = "m"
"""The name of the only model."""

_HASH = """
from decant.embedders import HashEncoder
from decant.serving import ServedModel, create_app, run_server

app = create_app([ServedModel(name="m", encoder=HashEncoder(dim=384))])
said = lambda port: print(f"listening at http://127.0.0.1:{port};", flush=True)
run_server(app, port=0, on_listening=said)
"""

# What people write today: the model behind a function that FastAPI runs in its pool of threads.
_WRAPPER = """
import socket
import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(sys.argv[1], device="cpu")
app = FastAPI()


class Texts(BaseModel):
    inputs: list[str]


@app.post("/embed")
def embed(texts: Texts) -> list[list[float]]:
    return model.encode(texts.inputs, normalize_embeddings=True).tolist()


listener = socket.create_server(("127.0.0.1", 0))
print(f"listening at http://127.0.0.1:{listener.getsockname()[1]};", flush=True)
config = uvicorn.Config(app, access_log=False, log_level="error")
uvicorn.Server(config).run(sockets=[listener])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A server that listens.

    Args:
        port: Where, on this machine.
        process: Its process.
    """

    port: int
    process: subprocess.Popen[str]

    @property
    def resident(self) -> float:
        """How much memory the process holds, in MB; Linux alone tells it."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        (kilobytes,) = re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        return int(kilobytes) / 1024

    def terminate(self) -> int:
        """Send SIGTERM, and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=180)


def decant_command(bundle: Path) -> list[str]:
    """Return the command of ``decant serve`` with one bundle."""
    options = ["--port", "0", "--provider", "cpu", "--precision", "fp32"]
    return [sys.executable, "-m", "decant.cli", "serve", f"{NAME}={bundle}", *options]


def hash_command() -> list[str]:
    """Return the command of decant's server with an encoder that takes no time."""
    return [sys.executable, "-c", _HASH]


def wrapper_command(model: Path) -> list[str]:
    """Return the command of FastAPI around sentence-transformers."""
    return [sys.executable, "-c", _WRAPPER, str(model)]


@contextmanager
def started(command: Sequence[str]) -> Iterator[Started]:
    """Start a server, wait until it listens, and end it.

    Raises:
        DecantError: It ended before it listened.
    """
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = ""
            while line := process.stdout.readline():
                said += line
                if found := re.search(r"listening at http://127\.0\.0\.1:(\d+)", line):
                    yield Started(port=int(found[1]), process=process)
                    return
            raise DecantError(f"the server did not start: {said.strip()}")
        finally:
            process.kill()
