"""The texts on which the ranges of a model's states are measured, before a certificate is made.

Prose, questions, code, numbers and several scripts, in every length; none of them is among the
certificate's probes, so that a range that fits these alone is found out.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle, islice

from decant.embedders import TextError
from decant.embedders.tokens import PairTokenizer, TextTokenizer, Tokens, checked

from ..certify.probes import probe_rows, shortened
from ..certify.score_probes import fitting

_SHORT = (
    "x",
    "yes",
    "Where is the nearest pharmacy?",
    "How long should I boil an egg?",
    "best hiking boots for wide feet",
    "Error 404: page not found",
    "The committee will publish its report on Tuesday.",
    "A triangle with equal sides has equal angles.",
    "Salt lowers the freezing point of water.",
    "His grandmother kept bees and sold the honey at the market.",
    "The engine overheats when the coolant is low.",
    "Trees lose their leaves in autumn to save water.",
    "The defendant denies having signed the agreement.",
    "Insulin lets cells take up sugar from the blood.",
    "An index makes reading faster and writing slower.",
    "Profits fell by 12.5 % in the third quarter, to $4.7 million.",
    "The orchestra tunes to the oboe's A at 440 Hz.",
    "Which planet has the most moons?",
    "why does my cat stare at the wall",
    "Two proteins were found to bind the receptor with high affinity.",
    "for (int i = 0; i < n; ++i) { total += values[i] * weights[i]; }",
    "class Stack:\n    def __init__(self):\n        self.items = []\n",
    "UPDATE orders SET paid = TRUE WHERE id = 8812;",
    "git rebase --interactive HEAD~3 && make test",
    '{"name": "Ada", "born": 1815, "fields": ["mathematics", "poetry"]}',
    "<p class='note'>Closed on <b>public holidays</b>.</p>",
    "f(x) = 3x^2 - 2x + 7, so f'(x) = 6x - 2",
    "WARNING: DO NOT OPEN WHILE RUNNING",
    "tel. +44 20 7946 0958, fax 0959; ref. no. QX-77/b (2019)",
    "Die Bäckerei an der Ecke öffnet schon um halb sechs.",
    "Les élèves ont planté un cerisier devant l'école.",
    "El tren de la mañana sale con diez minutos de retraso.",
    "Il medico consiglia riposo e molta acqua.",
    "O pescador voltou antes da tempestade.",
    "Het museum is op maandag gesloten.",
    "图书馆晚上九点关门。",
    "電車は三番線から出発します。",
    "서울은 한강을 끼고 있는 도시이다.",
    "Поезд прибывает на второй путь.",
    "السفر يوسع آفاق الإنسان.",
    "दिल्ली भारत की राजधानी है।",
    "วันนี้อากาศร้อนมาก",
    "🚲 to work, 🌧 on the way back 😅",
    "»quotes«, dashes – and — ellipses… ©2024 ½ ≤ ¾ ≠ √2",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "0 1 1 2 3 5 8 13 21 34 55 89 144 233 377",
    "\t\tindented\n\n\nand then a gap",
    "The the the the the the the the",
)
_PARAGRAPHS = (
    (
        "A river begins as rain on high ground. It gathers in gullies, cuts a narrow bed, and "
        "slows where the land is flat; there it drops the sand that it carried, and its bed "
        "wanders from year to year. Towns grew at its fords, later at its bridges, and drew "
        "their water from it. "
    ),
    (
        "To return an item, write to the seller within fourteen days of delivery. Pack it as it "
        "came, with everything that was in the box, and keep the receipt of the parcel. The "
        "price is paid back when the goods are there, or when you show that they were sent, "
        "whichever is sooner. "
    ),
    (
        "The function takes two sorted lists and walks through both at once. At each step it "
        "copies the smaller head, so every value is looked at once and the result is sorted, "
        "too. It needs room for a copy of both lists; merging in place is possible, and hardly "
        "ever worth it. "
    ),
    (
        "Measles spreads through the air and is among the most contagious diseases known. Fever "
        "and a cough come first, the rash some days later. There is no cure, but two doses of a "
        "vaccine protect for life, and where nearly all children get them the disease does not "
        "return. "
    ),
)
_MOST = 512
_QUERY_TOKENS = 8  # of a text, as the query of a reranker
_LENGTHS = (24, 60, 120, 200, 320, 512)  # tokens; a model's limit cuts them


def range_rows(tokenizer: TextTokenizer, texts: Iterable[str] | None = None) -> list[Tokens]:
    """Return texts as tokens, as passages and, where the prompts differ, as queries.

    Args:
        tokenizer: Cuts what is too long.
        texts: Such as will be embedded, of which the first 512 are taken; None takes ours.

    Raises:
        TextError: A text is empty, or there is none.
    """
    if isinstance(tokenizer, PairTokenizer):
        return _pair_rows(tokenizer, texts)
    if texts is not None:
        given = list(islice(checked(texts), _MOST))
        if not given:
            raise TextError("there is no text to measure ranges on; pass some, or None for ours")
        return probe_rows(tokenizer, given)
    paragraphs = zip(cycle(_PARAGRAPHS), _LENGTHS, strict=False)
    long = [shortened(tokenizer, text * length, length) for text, length in paragraphs]
    return probe_rows(tokenizer, [*_SHORT, *long])


def _pair_rows(tokenizer: PairTokenizer, texts: Iterable[str] | None) -> list[Tokens]:
    """Return pairs: each text behind its own first words, and behind those of the next text.

    Raises:
        TextError: A text is empty, or there is none.
    """
    if texts is None:
        paragraphs = zip(cycle(_PARAGRAPHS), _LENGTHS, strict=False)
        long = [shortened(tokenizer, text * length, length) for text, length in paragraphs]
        given = [*_SHORT, *long]
    else:
        given = list(islice(checked(texts), _MOST // 2))
    if not given:
        raise TextError("there is no text to measure ranges on; pass some, or None for ours")
    queries = [shortened(tokenizer, text, _QUERY_TOKENS) for text in given]
    pairs = [
        (queries[(number + shift) % len(given)], text)
        for shift in (0, 1)
        for number, text in enumerate(given)
    ]
    return tokenizer.pairs(fitting(tokenizer, pairs, 0)[0])
