"""Open the systems that ``decant evaluate`` compares, and find out of which kind they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Self, assert_never

import typer

from decant.embedders import Precision
from decant.embedders.files import MANIFEST

from .open import open_encoder

if TYPE_CHECKING:
    from decant.evaluation import Embedder


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The path of a system, with a precision.

    Args:
        path: A bundle, a sentence-transformers folder or a file of word vectors.
        precision: Which of a bundle's graphs; None: the one chosen for all bundles.
    """

    path: Path
    precision: Precision | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``PATH`` or ``PATH@PRECISION``; a path that is there may itself hold an ``@``.

        Raises:
            BadParameter: What follows the ``@`` is no precision, and the path before it is there.
        """
        path, sign, name = text.rpartition("@")
        if not sign or Path(text).exists() or not Path(path).exists():
            return cls(path=Path(text))
        try:
            return cls(path=Path(path), precision=Precision(name))
        except ValueError as error:
            raise typer.BadParameter(
                f"{name!r} in {text!r} is none of {', '.join(Precision)}"
            ) from error

    def named(self, path: str) -> str:
        """Return a name with the precision, if the system has one."""
        return path if self.precision is None else f"{path}@{self.precision.value}"


def system_names(places: Sequence[Place]) -> list[str]:
    """Return the last parts of the paths, or whole paths if these are alike, with precisions.

    Raises:
        BadParameter: A system is given twice.
    """
    names = [place.named(place.path.name or place.path.resolve().name) for place in places]
    if len(set(names)) < len(names):
        names = [place.named(str(place.path)) for place in places]
    if len(set(names)) < len(names):
        raise typer.BadParameter(
            f"a system is given twice: {', '.join(names)}; for another precision of a bundle write "
            "BUNDLE@int8"
        )
    return names


class Kind(Enum):
    """A kind of system, and the file by which it is recognised."""

    BUNDLE = MANIFEST
    SENTENCE_TRANSFORMER = "modules.json"
    WORD_VECTORS = ""


def kind_of(place: Place) -> Kind:
    """Return the kind of a system; a bundle may also hold the files of the second kind.

    Raises:
        BadParameter: It is none of the three, or it has no precisions and one is given.
    """
    path = place.path
    for kind in (Kind.BUNDLE, Kind.SENTENCE_TRANSFORMER):
        if (path / kind.value).is_file():
            break
    else:
        kind = Kind.WORD_VECTORS
        if not path.is_file():
            raise typer.BadParameter(
                f"{path} is not a bundle, a sentence-transformers folder or a file of word vectors"
            )
    if place.precision is not None and kind is not Kind.BUNDLE:
        raise typer.BadParameter(f"{path} is not a bundle, so it has no graph in {place.precision}")
    return kind


@contextmanager
def opened(place: Place, kind: Kind, *, provider: str, precision: str) -> Iterator[Embedder]:
    """Open a system; provider and precision are for bundles, and a place's own precision wins.

    Raises:
        BundleError: The bundle has no graph of the precision; the message names those that it has.
    """
    from decant.embedders.errors import need
    from decant.evaluation import WrappedModel, read_word_vectors, word_format

    match kind:
        case Kind.BUNDLE:
            chosen = precision if place.precision is None else place.precision.value
            with open_encoder(place.path, provider=provider, precision=chosen) as encoder:
                yield encoder
        case Kind.SENTENCE_TRANSFORMER:
            library = need("sentence_transformers", extra="sentence-transformers")
            yield WrappedModel(
                library.SentenceTransformer(
                    str(place.path), local_files_only=True, trust_remote_code=False
                )
            )
        case Kind.WORD_VECTORS:
            yield read_word_vectors(place.path, word_format(place.path), fold=True)
        case _:
            assert_never(kind)
