"""The words of a text that carry meaning, as PromptReps filters them (arXiv 2404.18424).

Its code splits with NLTK and drops NLTK's English stop words and punctuation. Here a word is a run
of letters, digits and underscores, and the stop words are a closed list of English function words;
texts in other languages keep theirs.
"""

from __future__ import annotations

import re

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
