"""Single words, and the words of a text that carry meaning.

Content words are those of PromptReps (arXiv 2404.18424). Its code splits with NLTK and drops NLTK's
English stop words and punctuation. Here a word is a run of letters, digits and underscores, and the
stop words are a closed list of English function words; texts in other languages keep theirs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Words that are common in most vocabularies, and one token in the large ones.
_TRIED = ("time", "people", "water", "house", "the", "in")
_WORD = re.compile(r"\w+")
_STOP_WORDS = """
a about above after again against all am an and any are as at be because been before being
below between both but by can could did do does doing down during each few for from further had
has have having he her here hers herself him himself his how i if in into is it its itself just
me more most my myself no nor not now of off on once only or other our ours ourselves out over
own same she should so some such than that the their theirs them themselves then there these
they this those through to too under until up very was we were what when where which while who
whom why will with would you your yours yourself yourselves s t d ll m re ve don isn aren wasn
weren hasn haven hadn doesn didn won wouldn shouldn couldn mustn needn
"""
_STOPPED = frozenset(_STOP_WORDS.split())


def content_words(text: str) -> list[str]:
    """Return the text's words in lower case, each once, in order.

    >>> content_words("What is the capital of France? The capital!")
    ['capital', 'france']
    """
    words = dict.fromkeys(_WORD.findall(text.lower()))
    return [word for word in words if word not in _STOPPED]


def wants_space(tokenizer: Tokenizer) -> bool:
    """Return whether a single word needs a space before it to get the token that it has in texts.

    In byte-level vocabularies the space is part of a word's token: "dog" at the start of a string
    is another, mostly rare, token than in "a dog". WordPiece has no such space, and SentencePiece
    mostly adds it before a text itself. Where a space is a token of its own, it changes no word.
    """

    def ids(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    before = len(ids("a"))
    return any(
        ids(word) != (inside := ids(f"a {word}")[before:])
        and ids(f" {word}") == inside
        and len(inside) <= len(ids(word))
        for word in _TRIED
    )
