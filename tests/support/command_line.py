"""Run ``decant`` as a user would: in this process, or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from typer.testing import CliRunner

from decant.cli.main import app


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        """What stdout holds, which is one JSON object and nothing else."""
        data = json.loads(self.out)
        assert isinstance(data, dict)
        return data


class Decant:
    """Runs ``decant`` in this process, as typer's own tests do."""

    def __call__(self, *arguments: object, typed: str | bytes | None = None) -> Ran:
        done = CliRunner().invoke(app, [str(item) for item in arguments], input=typed)
        return Ran(code=done.exit_code, out=done.stdout, err=done.stderr)

    def command(self, *arguments: object) -> list[str]:
        """Return the command line that runs it in a process of its own."""
        return [sys.executable, "-m", "decant.cli", *map(str, arguments)]

    def process(self, *arguments: object, typed: bytes = b"", **environment: str) -> Ran:
        """Run it in a process of its own."""
        return self._run(self.command(*arguments), typed, environment)

    def without(self, packages: str | Iterable[str], *arguments: object) -> Ran:
        """Run it in a process where packages cannot be imported, as if not installed."""
        script = (
            "import sys; sys.modules.update(dict.fromkeys(sys.argv.pop(1).split(','))); "
            "from decant.cli.main import app; app(prog_name='decant')"
        )
        hidden = packages if isinstance(packages, str) else ",".join(packages)
        words = [sys.executable, "-c", script, hidden, *map(str, arguments)]
        return self._run(words, b"", {})

    def _run(self, command: list[str], typed: bytes, environment: dict[str, str]) -> Ran:
        done = subprocess.run(
            command,
            input=typed,
            capture_output=True,
            env={**os.environ, **environment},
            timeout=120,
            check=False,
        )
        return Ran(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())
