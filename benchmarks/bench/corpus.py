"""Real texts to measure on: a folder of them, or the docstrings of this Python.

Chunks are slices of the texts, drawn with a seed; lengths are counted in the model's own tokens,
special tokens included. They are cut by the library that decant cuts with.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from semantic_text_splitter import TextSplitter
from tokenizers import Tokenizer

from decant.cli.input.standard_library import read_docstrings
from decant.embedders import TextError

LONGEST = 256
_SHORTEST_LIMIT = 16
_A_DOCUMENT = 4  # chunks drawn from one document
_FEWEST_WORDS, _MOST_WORDS = 2, 16
_CHUNK = 64  # tokens; queries are the first words of such chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One document: its name and what it says."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Documents, and where they come from."""

    name: str
    texts: tuple[Text, ...]


def load_corpus(data: Path) -> Corpus:
    """Return the PEPs of a data folder (``corpus/peps/*.txt``), else this Python's docstrings."""
    files = sorted((data / "corpus" / "peps").glob("*.txt"))
    if files:
        texts = [Text(name=file.name, text=file.read_text(encoding="utf-8")) for file in files]
        return Corpus(name="PEPs", texts=tuple(texts))
    modules: dict[str, list[str]] = {}
    for document in read_docstrings():
        modules.setdefault(str(document.metadata["module"]), []).append(document.text)
    texts = [Text(name=f"{name}.txt", text="\n\n".join(parts)) for name, parts in modules.items()]
    return Corpus(name="docstrings of the Python standard library", texts=tuple(texts))


def draw(corpus: Corpus, count: int, *, seed: int) -> list[Text]:
    """Return ``count`` of its documents, or all if there are fewer, in the order of names."""
    drawn = chance(seed).sample(corpus.texts, min(count, len(corpus.texts)))
    return sorted(drawn, key=lambda text: text.name)


def chance(seed: int) -> random.Random:
    """Return the source of everything that is drawn."""
    return random.Random(seed)  # noqa: S311 - texts are drawn, not keys


class Cutter:
    """Cuts documents into chunks and counts tokens.

    Args:
        tokenizer: The model's, without truncation and padding.
        longest: The longest chunk of a mixture.

    Attributes:
        special: How many special tokens every text has.
    """

    def __init__(self, tokenizer: Tokenizer, *, longest: int = LONGEST) -> None:
        self._tokenizer = tokenizer
        self._longest = longest
        self.special = len(tokenizer.encode("").ids)

    def cut(self, text: str, limit: int) -> list[str]:
        """Return chunks of at most ``limit`` tokens, special ones included, in order."""
        tokens = max(1, limit - self.special)
        return TextSplitter.from_huggingface_tokenizer(self._tokenizer, tokens).chunks(text)

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has."""
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch(list(texts))]

    def mixed(self, corpus: Corpus, tokens: int, *, seed: int) -> list[str]:
        """Return chunks of about ``tokens`` tokens together, of all lengths.

        Each document is cut at a limit of its own, so that short chunks are as common as long
        ones.

        Raises:
            TextError: The corpus is too small.
        """
        drawing = chance(seed)
        limits = {
            text.name: drawing.randint(_SHORTEST_LIMIT, self._longest) for text in corpus.texts
        }
        return self._gather(corpus, tokens, drawing, limits)

    def near(self, corpus: Corpus, length: int, tokens: int, *, seed: int) -> list[str]:
        """Return chunks of about ``tokens`` tokens together, each a little under ``length``.

        Raises:
            TextError: The corpus is too small.
        """
        drawing = chance(seed)
        limits = {text.name: length for text in corpus.texts}
        return self._gather(corpus, tokens, drawing, limits, shortest=length * 3 // 4)

    def _gather(
        self,
        corpus: Corpus,
        tokens: int,
        drawing: random.Random,
        limits: dict[str, int],
        *,
        shortest: int = 1,
    ) -> list[str]:
        """Draw a few chunks of one document after the other until there are enough tokens."""
        found: dict[str, int] = {}
        for text in drawing.sample(corpus.texts, len(corpus.texts)):
            chunks = self.cut(text.text, limits[text.name])
            drawn = drawing.sample(chunks, min(_A_DOCUMENT, len(chunks)))
            lengths = dict(zip(drawn, self.tokens(drawn), strict=True))
            found |= {chunk: length for chunk, length in lengths.items() if length >= shortest}
            if sum(found.values()) >= tokens:
                return drawing.sample(list(found), len(found))
        raise TextError(
            f"the {corpus.name} hold {sum(found.values())} tokens of such chunks, {tokens} were "
            "asked for; ask for fewer with --tokens"
        )


def some_queries(corpus: Corpus, cutter: Cutter, count: int, *, seed: int) -> list[str]:
    """Return the first words, 2 to 16 of them, of chunks of the corpus."""
    drawing = chance(seed)
    found: dict[str, None] = {}
    for text in drawing.sample(corpus.texts, len(corpus.texts)):
        for chunk in cutter.cut(text.text, _CHUNK):
            words = chunk.split()[: drawing.randint(_FEWEST_WORDS, _MOST_WORDS)]
            if len(words) >= _FEWEST_WORDS:
                found[" ".join(words)] = None
        if len(found) >= count:
            break
    return drawing.sample(list(found), min(count, len(found)))
