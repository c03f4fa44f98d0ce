"""What ``decant evaluate`` compares: which kind of system stands at a path, and opening it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import typer

from .opening import open_encoder

if TYPE_CHECKING:
    from decant.evaluation import Embedder


def system_names(places: Sequence[Path]) -> list[str]:
    """Return the last parts of the paths, or whole paths if these are alike.

    Raises:
        BadParameter: A path comes twice.
    """
    short = [place.name or place.resolve().name for place in places]
    names = short if len(set(short)) == len(short) else [str(place) for place in places]
    if len(set(names)) < len(names):
        raise typer.BadParameter(f"a system is given twice: {', '.join(names)}")
    return names


class Kind(Enum):
    """A kind of system, and the file that tells it."""

    BUNDLE = "decant.json"
    SENTENCE_TRANSFORMER = "modules.json"
    WORD_VECTORS = ""


def kind_of(place: Path) -> Kind:
    """Return what stands at a path; a bundle may hold the files of the other kind too.

    Raises:
        BadParameter: None of the three does.
    """
    for kind in (Kind.BUNDLE, Kind.SENTENCE_TRANSFORMER):
        if (place / kind.value).is_file():
            return kind
    if place.is_file():
        return Kind.WORD_VECTORS
    raise typer.BadParameter(
        f"{place} is no bundle, no sentence-transformers folder and no file of word vectors"
    )


@contextmanager
def opened(place: Path, kind: Kind, provider: str) -> Iterator[Embedder]:
    """Open a system; provider is for bundles."""
    from decant.embedders import need
    from decant.evaluation import WrappedModel, read_word_vectors, word_format

    match kind:
        case Kind.BUNDLE:
            with open_encoder(place, provider=provider) as encoder:
                yield encoder
        case Kind.SENTENCE_TRANSFORMER:
            library = need("sentence_transformers", extra="sentence-transformers")
            yield WrappedModel(
                library.SentenceTransformer(
                    str(place), local_files_only=True, trust_remote_code=False
                )
            )
        case Kind.WORD_VECTORS:
            yield read_word_vectors(place, word_format(place), fold=True)
        case _:
            assert_never(kind)
