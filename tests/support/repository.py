"""The repository as the tests of its own order see it: folders, files and ``pyproject.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = sorted(PROJECT["tool"]["setuptools"]["packages"])
"""Every declared package, ``decant.embedders`` and so on."""

FOLDERS: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]
"""The folders at the root by the package that each is: ``decant`` itself is ``package``."""

EXTRAS: set[str] = set(PROJECT["project"]["optional-dependencies"])

_SCRIPTS = ("tests", "examples", "benchmarks", "experiments")


def folder(package: str) -> Path:
    """Return where a package lies: ``decant.embedders`` is ``embedders/``."""
    top, *inner = package.split(".")[1:] or [FOLDERS["decant"]]
    return ROOT.joinpath(top, *inner)


def top_folders() -> list[str]:
    """Return the folders at the root that are packages of ours."""
    return sorted(file.parent.name for file in ROOT.glob("[!.]*/__init__.py"))


def library_files() -> list[Path]:
    """Return every Python file of the packages, relative to the root."""
    return sorted(
        file.relative_to(ROOT) for top in top_folders() for file in (ROOT / top).rglob("*.py")
    )


def script_files() -> list[Path]:
    """Return every Python file of tests, examples, benchmarks and experiments."""
    return sorted(file.relative_to(ROOT) for top in _SCRIPTS for file in (ROOT / top).rglob("*.py"))


def module_name(file: Path) -> str:
    """Return the name under which a library file is imported."""
    top, *inner = file.with_suffix("").parts
    parts = [*([] if top == FOLDERS["decant"] else [top]), *inner]
    return ".".join(("decant", *(parts[:-1] if parts[-1] == "__init__" else parts)))
