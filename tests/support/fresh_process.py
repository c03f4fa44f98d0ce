"""What an import costs, measured in new processes: time, and what it loads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_ROUNDS = 5


def seconds_to_import(module: str, *, python: str | Path) -> float:
    """Return the best of several first imports of ``module``, without the process's own start.

    They are seconds of the processor, so that what else a machine does does not count.
    """
    script = (
        "from time import process_time; start = process_time(); "
        f"import {module}; print(process_time() - start)"
    )
    return min(float(_output(python, script)) for _ in range(_ROUNDS))


def loaded_by_import(module: str, *, python: str | Path) -> set[str]:
    """Return the top-level packages that are loaded after importing ``module``."""
    script = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(_output(python, script).split())


def loaded_in_turn(modules: Iterable[str], *, python: str | Path) -> dict[str, set[str]]:
    """Return for each module which top-level packages it loads that none before it has loaded."""
    script = (
        "import importlib, json, sys\n"
        "tops = lambda: {name.partition('.')[0] for name in sys.modules}\n"
        "loaded = {}\n"
        f"for module in {list(modules)!r}:\n"
        "    before = tops()\n"
        "    importlib.import_module(module)\n"
        "    loaded[module] = [*(tops() - before)]\n"
        "print(json.dumps(loaded))"
    )
    return {name: set(tops) for name, tops in json.loads(_output(python, script)).items()}


def file_of(module: str, *, python: str | Path) -> Path:
    """Return the file that ``module`` is imported from."""
    return Path(_output(python, f"import {module}; print({module}.__file__)").strip())


def modules_loaded_by(code: str, *, python: str | Path = sys.executable) -> set[str]:
    """Return the top-level packages that are loaded after running ``code``."""
    shown = "print(*{name.partition('.')[0] for name in sys.modules})"
    return set(_output(python, f"import sys\n{code}\n{shown}").split())


def _output(python: str | Path, script: str) -> str:
    # -I: neither the current folder nor PYTHONPATH may help.
    return subprocess.run(
        [python, "-I", "-c", script], check=True, capture_output=True, text=True
    ).stdout
