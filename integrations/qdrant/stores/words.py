"""How the words of texts are indexed, so that passages are found by BM25 next to their vectors.

BM25 as Lucene writes it (Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25
and Beyond", section 3): for each word of the query, once, ``ln(1 + (N - n + 0.5) / (n + 0.5))``
times ``f * (k + 1) / (f + k * (1 - b + b * length / average))``, with k = 1.2 and b = 0.75; there
are N texts, of which n hold the word, and it stands f times in this one.
"""

from __future__ import annotations

from dataclasses import dataclass

from decant.embedders import StoreError

K, B = 1.2, 0.75

STEMMED = frozenset(
    {
        "arabic", "armenian", "danish", "dutch", "english", "finnish", "french", "german", "greek",
        "hungarian", "italian", "norwegian", "portuguese", "romanian", "russian", "spanish",
        "swedish", "tamil", "turkish",
    }
)  # fmt: skip
"""Languages for which Qdrant has a stemmer (Snowball)."""
STOPPED = frozenset(
    {
        "arabic", "azerbaijani", "basque", "bengali", "catalan", "chinese", "danish", "dutch",
        "english", "finnish", "french", "german", "greek", "hebrew", "hinglish", "hungarian",
        "indonesian", "italian", "japanese", "kazakh", "nepali", "norwegian", "portuguese",
        "romanian", "russian", "slovene", "spanish", "swedish", "tajik", "turkish",
    }
)  # fmt: skip
"""Languages for which Qdrant has a list of stop words."""
_UNSPACED = frozenset({"chinese", "japanese"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A text index over the texts of a collection, with BM25 scores.

    Args:
        language: The language of the texts, in English and lower case. It decides stemming and stop
            words, as far as Qdrant knows them for it (:data:`STEMMED`, :data:`STOPPED`); what it
            does not know is left out, never replaced by another language's. None is for texts of
            several languages, or of another one: no stemming, no stop words.
        stemming: Whether words are reduced to their stems, so that "ships" finds "ship".
        stop_words: Whether words such as "the" are left out.
        segmented: Whether words are also looked for where no spaces separate them, as in Chinese,
            Japanese and Thai; Qdrant's segmenter leaves out numbers. None: for Chinese and
            Japanese.

    Raises:
        StoreError: Qdrant knows nothing of the language.
    """

    language: str | None = "english"
    stemming: bool = True
    stop_words: bool = True
    segmented: bool | None = None

    def __post_init__(self) -> None:
        if self.language is not None and self.language not in STEMMED | STOPPED:
            known = ", ".join(sorted(STEMMED | STOPPED))
            raise StoreError(
                f"Qdrant knows no language {self.language!r}; give None (--words none), which "
                f"indexes words as they are, or one of {known}"
            )

    def __str__(self) -> str:
        """Return the language and what it decides, as a reader sees them.

        >>> str(Words()), str(Words(language=None)), str(Words(language="chinese"))
        ('english, stemmed, no stop words', 'no language', 'chinese, no stop words, segmented')
        """
        shown = [self.language or "no language"]
        shown += ["stemmed"] if self.stemmer else []
        shown += ["no stop words"] if self.stop_list else []
        shown += ["segmented"] if self.is_segmented else []
        return ", ".join(shown)

    @property
    def stemmer(self) -> str | None:
        """The language of the stemmer; None: words stay as they are."""
        return self.language if self.stemming and self.language in STEMMED else None

    @property
    def stop_list(self) -> str | None:
        """The language of the stop words; None: no word is left out."""
        return self.language if self.stop_words and self.language in STOPPED else None

    @property
    def is_segmented(self) -> bool:
        """Whether words are also looked for where no spaces separate them."""
        return self.language in _UNSPACED if self.segmented is None else self.segmented
