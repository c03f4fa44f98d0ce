"""The pairs that a reranker's certificate is measured on: 20 queries, and passages of every length.

Each query has its own answer among its passages, so that a trained model spreads its scores. The
reference scores are stored in the bundle, so changing a text here affects no existing bundle.
"""

from __future__ import annotations

from decant.embedders import ParityError, TextError
from decant.embedders.tokens import PairTokenizer

from .probes import LENGTHS, PLAIN, SENTENCE, shortened

Pair = tuple[str, str]

_QUERIES: tuple[tuple[str, int], ...] = (
    ("why does bread rise", 1),
    ("when does the ferry leave", 2),
    ("what is compound interest", 3),
    ("compute the mean in python", 4),
    ("elements of a contract", 5),
    ("how do glaciers shape valleys", 6),
    ("treatment of a fever", 7),
    ("select large towns in sql", 8),
    ("is the king ever captured in chess", 9),
    ("why are pans made with copper", 10),
    ("How long does sunlight take to reach us?", 12),
    ("what is photosynthesis", 14),
    ("budget vote in parliament", 15),
    ("cause of rust", 17),
    ("lost hikers", 19),
    ("how vaccines work", 20),
    ("Wann kommt der Zug nach München?", 30),
    ("où dort le chat", 31),
    ("天気はどうですか", 33),
    ("naïve café: ½ l at 20 °C", 37),
)
_PASSAGES = 6
_STEP = 7  # no divisor of the number of plain texts, so that each query gets other passages
_LONG_QUERY = (
    "a long question: where do the boats lie in winter, who watches over them, and what becomes of "
    "the gulls when the harbour freezes and the keeper of the lighthouse goes home"
)


def probe_pairs(tokenizer: PairTokenizer, *, longest: int) -> tuple[list[Pair], int]:
    """Return the pairs for one tokenizer, and how many of them are ranked.

    First come 20 queries with six passages each, which are ranked; then passages of about 16, 48,
    96 … tokens below ``longest``. If the recipe's longest input is not above ``longest``, one pair
    fills it, and passages go far beyond it.

    Raises:
        ParityError: ``max_tokens`` leaves no room for any of them.
    """
    pairs = [
        (query, PLAIN[(answer + _STEP * number) % len(PLAIN)])
        for query, answer in _QUERIES
        for number in range(_PASSAGES)
    ]
    ranked = len(pairs)
    limit = tokenizer.recipe.max_tokens
    around = max(len(row.ids) for row in tokenizer.pairs([(_QUERIES[0][0], "a")], max_tokens=10**9))
    room = limit - around
    if room < 1:
        return pairs, ranked
    lengths = [length for length in LENGTHS if length < min(room, longest)]
    per_sentence = len(tokenizer.bare.encode(SENTENCE, add_special_tokens=False).ids)
    queries = [query for query, _ in _QUERIES]
    wanted = [(queries[at % len(queries)], length) for at, length in enumerate(lengths)]
    if limit <= longest:
        wanted += [(queries[0], room), (queries[0], 2 * limit), (queries[1], 2 * limit)]
    for query, length in wanted:
        repeats = -(-length // max(per_sentence, 1))
        text = SENTENCE * (repeats + 1)
        pairs.append((query, shortened(tokenizer, text, length)))
    wide = len(tokenizer.bare.encode(_LONG_QUERY, add_special_tokens=False).ids)
    if wide < room:
        pairs += [(_LONG_QUERY, PLAIN[2]), (_LONG_QUERY, SENTENCE * 2)]
    return fitting(tokenizer, pairs, ranked)


def fitting(tokenizer: PairTokenizer, pairs: list[Pair], ranked: int) -> tuple[list[Pair], int]:
    """Return the pairs whose query leaves room for a passage, and how many of them are ranked.

    Raises:
        ParityError: There is none.
    """
    kept: list[Pair] = []
    count = 0
    for number, pair in enumerate(pairs):
        try:
            tokenizer.pairs([pair])
        except TextError:
            continue
        kept.append(pair)
        count += number < ranked
    if not kept:
        raise ParityError(
            "no query of the probe leaves room for a passage in "
            f"max_tokens={tokenizer.recipe.max_tokens}; raise max_tokens"
        )
    return kept, count
