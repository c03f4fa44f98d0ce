"""The wheel is complete and works alone: built, installed in a new environment, tested there.

The sources are copied first: setuptools would otherwise pack leftovers of older builds.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from decant.embedders.distribution import DISTRIBUTION
from fresh_process import file_of, loaded_by_import, seconds_to_import
from repository import (
    EXTRAS,
    FOLDERS,
    PACKAGES,
    PROJECT,
    ROOT,
    folder,
    library_files,
    module_name,
    top_folders,
)

NOT_IN_THE_BASE = {"torch", "transformers", "onnxruntime", "langchain_core", "llama_index"}
"""Packages that extras bring."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an sdist, and the wheel from it."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in top_folders():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist"], cwd=source)
    (built,) = (source / "dist").glob("decant_qdrant-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel alone in a new environment, and return its interpreter."""
    home = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", str(home)], cwd=home)
    python = home / "bin" / "python"
    install(python, str(wheel))
    return python


def test_every_folder_is_declared_and_typed() -> None:
    on_disk = {module_name(file) for file in library_files() if file.name == "__init__.py"}
    assert on_disk == set(PACKAGES), "pyproject.toml lists the packages by hand"
    assert {*FOLDERS.values()} == {*top_folders()}, "and where the first of each branch lies"
    untyped = [package for package in PACKAGES if not (folder(package) / "py.typed").is_file()]
    assert untyped == []


def test_the_name_of_the_distribution_is_written_once() -> None:
    assert PROJECT["project"]["name"] == DISTRIBUTION
    texts = {str(file): (ROOT / file).read_text(encoding="utf-8") for file in library_files()}
    assert [name for name, text in texts.items() if DISTRIBUTION in text] == [
        "embedders/distribution.py"
    ]
    other = re.compile(r"pip install '?decant(?!-qdrant)")
    assert [name for name, text in texts.items() if other.search(text)] == []


def test_extras_take_each_other_from_this_distribution() -> None:
    extras: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
    wanted = [Requirement(line) for lines in extras.values() for line in lines]
    ours = [one for one in wanted if one.name.startswith("decant")]
    assert {one.name for one in ours} == {DISTRIBUTION}
    assert {extra for one in ours for extra in one.extras} <= EXTRAS


def test_every_folder_with_python_files_is_a_package() -> None:
    lost = {
        file.parent.relative_to(ROOT)
        for top in top_folders()
        for file in (ROOT / top).rglob("*.py")
        if not (file.parent / "__init__.py").is_file()
    }
    assert lost == set()


def test_the_wheel_holds_every_file_of_every_folder_and_nothing_else(wheel: Path) -> None:
    packed = {
        name
        for name in zipfile.ZipFile(wheel).namelist()
        if not name.partition("/")[0].endswith(".dist-info")
    }
    on_disk = {
        "/".join((*package.split("."), file.relative_to(ROOT / top).as_posix()))
        for package, top in FOLDERS.items()
        for file in (ROOT / top).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert packed == on_disk


@pytest.mark.parametrize(("module", "seconds"), [("decant", 0.060), ("decant.embedders", 0.150)])
def test_the_installed_wheel_imports_quickly_and_lightly(
    module: str, seconds: float, python: Path
) -> None:
    assert python.parent.parent in file_of(module, python=python).parents
    assert seconds_to_import(module, python=python) < seconds
    loaded = loaded_by_import(module, python=python)
    assert loaded & {*NOT_IN_THE_BASE, "qdrant_client"} == set()


def test_the_installed_wheel_shows_its_version_and_its_first_names(python: Path) -> None:
    script = (
        "import decant; from importlib.metadata import version; "
        f"assert decant.__version__ == version({DISTRIBUTION!r}); "
        "encoder = decant.HashEncoder(dim=4); "
        "print(encoder.encode(['a'], role=decant.Role.QUERY).dense.shape, decant.connect.__name__)"
    )
    shown = run([str(python), "-I", "-c", script], cwd=python.parent)
    assert shown.split() == ["(1,", "4)", "connect"]


def test_the_typing_folder_shows_every_file_and_folder_of_the_package() -> None:
    """Type checkers read the packages there, under the names that they are imported by."""
    files = (ROOT / ".typing" / "decant").iterdir()
    links = {file.name: file for file in files if file.name != "__pycache__"}
    shown = {name: link.resolve() for name, link in links.items()}
    wings = {package: top for package, top in FOLDERS.items() if package != "decant"}
    assert shown == {
        **{file.name: file for file in folder("decant").iterdir() if file.is_file()},
        **{package.rpartition(".")[2]: ROOT / top for package, top in wings.items()},
    }
    absolute = [name for name, link in links.items() if link.readlink().is_absolute()]
    assert absolute == [], "a clone lies elsewhere"


def test_the_base_install_brings_what_it_promises_and_no_extra(python: Path) -> None:
    listed = run([str(python), "-m", "pip", "list", "--format=freeze"], cwd=python.parent)
    names = {line.partition("==")[0].lower().replace("-", "_") for line in listed.splitlines()}
    assert {"numpy", "tokenizers", "qdrant_client", "qdrant_edge_py", "typer", "rich"} <= names
    assert names & NOT_IN_THE_BASE == set()


def test_the_command_of_the_installed_wheel_explains_itself(python: Path) -> None:
    shown = run([str(python.parent / "decant"), "--help"], cwd=python.parent)
    for command in ("quickstart", "export", "verify", "doctor", "index", "search"):
        assert command in shown
    assert run([str(python), "-I", "-m", "decant", "--help"], cwd=python.parent) == shown


def test_the_installed_wheel_passes_the_contract(python: Path, tmp_path: Path) -> None:
    install(python, "pytest")
    shutil.copytree(ROOT / "tests" / "support", tmp_path / "support")
    shutil.copy(ROOT / "tests" / "embedders" / "encoding" / "test_hash_encoder.py", tmp_path)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = --import-mode=importlib\npythonpath = support\n"
        "filterwarnings = error\n"
    )
    shown = run([str(python), "-I", "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=tmp_path)
    assert " passed" in shown
    assert "skipped" not in shown


def install(python: Path, requirement: str) -> None:
    """Install something and what it needs, in the versions that we develop with."""
    constraints = str(ROOT / "constraints.txt")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "-c", constraints, requirement], cwd=python.parent)


def run(command: list[str], *, cwd: Path) -> str:
    """Return what a command prints; a failure shows it."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout
