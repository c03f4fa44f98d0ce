"""What a reader sees is run and leads somewhere: blocks of README and pages, docstrings, examples.

They run in a folder that a reader could have: ``notes/`` with a few texts, ``pairs.tsv`` and
``faq.tsv``, the model ``sentence-transformers/all-MiniLM-L6-v2`` where a hub id would be, so that
no network is needed, and for pages behind the quickstart the bundle ``minilm`` that it makes. The
model is cut to one layer; slow tests take the whole one.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import inspect
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import get_origin

import pytest

import command_reference
from memory_folder import memory_folder
from readme import MODEL, anchors, blocks, links
from repository import PACKAGES, PROJECT, ROOT, folder, library_files, module_name
from run_blocks import check_wanted, run_block, run_process

DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted(DOCS.glob("*.md"))]
LOG = sorted((ROOT / "experiments" / "log").glob("[0-9]*.md"))
LINKED = [
    *PAGES,
    ROOT / "CHANGELOG.md",
    *sorted((DOCS / "reference").glob("*.md")),
    *sorted((ROOT / "experiments" / "log").glob("*.md")),
]
LINKED_TO_CODE = [*PAGES, *sorted((DOCS / "reference").glob("*.md"))]
MAKES_THE_BUNDLE = {"README.md", "quickstart.md"}
TAKES_LONG = {"evaluation.md", "precisions.md", "quickstart.md", "training.md"}
NOTES = {
    "bread.md": "# Bread\n\nBread rises because yeast turns sugar into carbon dioxide.\n",
    "ferry.txt": "The ferry to the island leaves at seven and returns at dusk.\n",
    "peps.txt": "A PEP is a design document. The Steering Council accepts or rejects PEPs.\n",
}
PAIRS = "5\ta cat sleeps\ta cat is asleep\n3\ta dog runs\ta dog sleeps\n0\tthe sea\ta PEP\n"
FAQ = [f"where is the {n}th ferry?\tThe {n}th ferry is at pier {n % 7}.\n" for n in range(40)]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# They import torch in a process of their own, and train or export; `make check` has their types.
SLOW_EXAMPLES = {"export_a_decoder.py", "my_objective.py", "my_strategy.py"}
REFERENCES = {
    package: DOCS / "reference" / f"{package.rpartition('.')[2].replace('_', '-')}.md"
    for package in (
        "decant",
        "decant.embedders",
        "decant.evaluation",
        "decant.export",
        "decant.integrations.langchain",
        "decant.integrations.llama_index",
        "decant.integrations.qdrant",
        "decant.integrations.sentence_transformers",
        "decant.serving",
        "decant.training",
    )
}
"""The packages that users import from, and the page of each."""

README_BYTES = 6_000


@pytest.fixture
def reader_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the reader's folder, without the model, and go there."""
    with memory_folder(tmp_path, mebibytes=1024) as place:
        notes = place / "notes"
        notes.mkdir()
        for name, text in NOTES.items():
            (notes / name).write_text(text, encoding="utf-8")
        (place / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
        faq = "".join(["query\tpositive\n", *FAQ])
        (place / "faq.tsv").write_text(faq, encoding="utf-8")
        with monkeypatch.context() as patch:
            patch.chdir(place)
            yield place


@pytest.fixture
def stage(reader_folder: Path, shallow_model: Path) -> Path:
    """Return the reader's folder with the shallow model."""
    return with_model(reader_folder, shallow_model)


def with_model(folder: Path, model: Path) -> Path:
    link = folder / MODEL
    link.parent.mkdir()
    link.symlink_to(model, target_is_directory=True)
    return folder


def unless_quick(page: Path) -> object:
    """Return a parameter that only `make test-slow` runs if the page's blocks take long."""
    marks = [pytest.mark.slow] if page.name in TAKES_LONG else []
    return pytest.param(page, marks=marks, id=page.name)


@pytest.mark.parametrize("page", [unless_quick(page) for page in PAGES])
def test_every_block_of_a_page_runs(
    page: Path,
    stage: Path,
    made_by_readme: dict[str, Path],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_page(page, stage, lambda: request.getfixturevalue("bundle"), monkeypatch)
    if page == README:  # an export takes six seconds, and the other pages need the same bundle
        factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
        kept = factory.mktemp("readme") / "minilm"
        made_by_readme["minilm"] = shutil.copytree(stage / "minilm", kept)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*sorted(MAKES_THE_BUNDLE), "precisions.md"])
def test_pages_that_export_run_with_the_whole_model(
    name: str,
    reader_folder: Path,
    model: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (page,) = [page for page in PAGES if page.name == name]
    stage = with_model(reader_folder, model)
    run_page(page, stage, lambda: request.getfixturevalue("whole_bundle"), monkeypatch)


def test_the_readme_is_short_and_begins_with_python() -> None:
    assert len(README.read_bytes()) <= README_BYTES
    assert blocks(README)[0].language == "python"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_block_that_is_not_run_gives_its_reason(page: Path) -> None:
    """A fence without a language would be passed over without a word."""
    assert [block.line for block in blocks(page) if not block.language] == []


@pytest.mark.parametrize(
    "page", LINKED, ids=lambda page: str(page.relative_to(ROOT)).replace("/", "-")
)
def test_every_link_leads_somewhere(page: Path) -> None:
    dead: list[str] = []
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize(
    "page", LINKED_TO_CODE, ids=lambda page: str(page.relative_to(ROOT)).replace("/", "-")
)
def test_every_path_of_the_repository_that_a_page_names_is_there(page: Path) -> None:
    """A path in backticks that begins with a folder of ours and ends like one of its files."""
    folders = "|".join(path.name for path in ROOT.glob("[!.]*/"))
    named = re.findall(
        rf"`((?:{folders})/[\w./-]+\.(?:py|pyi|toml|md|json|xz|yml))\b",
        page.read_text(encoding="utf-8"),
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_page_is_reached_from_the_first_and_stands_in_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    first = {link.partition("#")[0] for link in links(DOCS / "index.md")}
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"index.md"}
    assert pages - first == set()
    assert {page for page in pages if f" {page}\n" not in navigation} == set()


def test_every_entry_of_the_log_has_its_form_and_stands_in_the_index() -> None:
    index = set(links(ROOT / "experiments" / "log" / "README.md"))
    assert LOG
    for entry in LOG:
        date = entry.name[:10]
        heading = entry.read_text(encoding="utf-8").partition("\n")[0]
        assert re.fullmatch(rf"# {date}: .+", heading), entry.name
        assert entry.name in index, f"{entry.name} is missing in experiments/log/README.md"


def test_code_that_names_an_entry_of_the_log_names_one_that_is_there() -> None:
    known = {entry.name for entry in LOG}
    named = {
        name
        for file in library_files()
        for name in re.findall(
            r"experiments/log/([\w.-]+\.md)", (ROOT / file).read_text(encoding="utf-8")
        )
    }
    assert named
    assert named - known == set()


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(
            file, id=file.name, marks=[pytest.mark.slow] if file.name in SLOW_EXAMPLES else []
        )
        for file in EXAMPLES
    ],
)
def test_every_example_runs(file: Path, stage: Path) -> None:
    run_process([sys.executable, str(file)], stage, shown=file.name)


def test_there_are_examples() -> None:
    assert {file.name for file in EXAMPLES} > SLOW_EXAMPLES


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


@pytest.mark.parametrize("package", REFERENCES)
def test_every_public_name_is_shown_to_the_reader(package: str) -> None:
    """The page of a package has one directive a name, which mkdocstrings turns into its section."""
    page = REFERENCES[package].read_text(encoding="utf-8")
    shown = re.findall(rf"(?m)^::: {re.escape(package)}\.(\w+)$", page)
    assert sorted(shown) == sorted(public_names(package)), (
        f"docs/reference/{REFERENCES[package].name}"
    )


@pytest.mark.parametrize("package", REFERENCES)
def test_every_public_name_has_a_docstring_of_its_own(package: str) -> None:
    module = importlib.import_module(package)
    assert [name for name in public_names(package) if not described(module, name)] == []


def test_every_package_that_users_import_from_has_its_page() -> None:
    facing = {
        package
        for package in PACKAGES
        if (folder(package) / "__init__.pyi").exists()
        and package.count(".") <= 1 + ("integrations" in package)
    }
    assert facing == {*REFERENCES}


def test_the_page_of_the_command_line_shows_what_the_commands_say() -> None:
    written = command_reference.PAGE.read_text(encoding="utf-8")
    assert written == command_reference.reference(), (
        "run: python tests/support/command_reference.py"
    )


def test_every_command_has_its_section_in_the_page_of_the_command_line() -> None:
    sections = anchors(command_reference.PAGE)
    names = [name for name, _ in command_reference.commands()]
    assert "decant export" in names
    assert "decant train contrastive" in names
    assert [name for name in names if name.replace(" ", "-") not in sections] == []


def run_page(
    page: Path, stage: Path, bundle: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run the blocks of a page in a reader's folder, with a copy of the bundle if they need it."""
    # A minute otherwise.
    monkeypatch.setattr("decant.embedders.onnx.speed_bench._TRIAL_SECONDS", 0.0)
    monkeypatch.setattr("decant.embedders.onnx.roofline._ROUND_SECONDS", 0.0)
    found = [block for block in blocks(page) if block.reason is None]
    needs_bundle = any("minilm" in block.body for block in found if block.is_run)
    if needs_bundle and page.name not in MAKES_THE_BUNDLE:
        shutil.copytree(bundle(), stage / "minilm")
    names: dict[str, object] = {"__name__": "__main__"}
    for block in found:
        run_block(block, names, stage, page=page)
    if page == README:  # whoever pastes it a second time finds what the first made
        run_block(found[0], {"__name__": "__main__"}, stage, page=page)


def public_names(package: str) -> list[str]:
    """Return the public names of a package, without its sub-packages and its version."""
    module = importlib.import_module(package)
    return [
        name
        for name in module.__all__
        if not name.startswith("__") and not isinstance(getattr(module, name), ModuleType)
    ]


def described(module: ModuleType, name: str) -> bool:
    """Tell whether a public name has a docstring; of an alias, a string below its assignment."""
    value = getattr(module, name)
    if get_origin(value) is None and (inspect.isclass(value) or inspect.isroutine(value)):
        own = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
        # A dataclass without a docstring is given its own signature.
        return isinstance(own, str) and own != "" and not own.startswith(f"{name}(")
    home = ROOT / home_of(module, name)
    body = ast.parse(home.read_text(encoding="utf-8")).body
    for statement, after in pairwise(body):
        match statement, after:
            case (
                ast.AnnAssign(target=ast.Name(id=found)) | ast.Assign(targets=[ast.Name(id=found)]),
                ast.Expr(value=ast.Constant(value=str())),
            ) if found == name:
                return True
            case _:
                pass
    return False


def home_of(module: ModuleType, name: str) -> Path:
    """Return the file that the package's stub names for a public name, relative to the root."""
    package = module.__name__
    folder = Path(*package.split(".")[1:])
    stub = ast.parse((ROOT / folder / "__init__.pyi").read_text(encoding="utf-8"))
    for statement in stub.body:
        if isinstance(statement, ast.ImportFrom) and name in {a.name for a in statement.names}:
            return folder.joinpath(*str(statement.module).split(".")).with_suffix(".py")
    raise LookupError(f"{package}.{name} is not in the stub")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_install_line_names_our_distribution_and_extras_that_it_has(page: Path) -> None:
    for line in re.findall(r"pip install (?:-U )?'([^']+)'", page.read_text(encoding="utf-8")):
        check_wanted(line, f"{page.name}: {line}")


def test_the_site_is_described_where_its_packages_are() -> None:
    assert "docs-site" in PROJECT["project"]["optional-dependencies"]
