"""The texts that a certificate is measured on: fixed, of every length, in several scripts.

They are short prose of our own, which any tokenizer can read. The reference vectors of these texts
are stored in the bundle, so changing a text here does not affect existing bundles.
"""

from __future__ import annotations

from collections.abc import Iterator

from decant.embedders import Role
from decant.embedders.tokens import TextTokenizer, Tokens

PLAIN: tuple[str, ...] = (
    "a",
    "Bread rises because yeast turns sugar into carbon dioxide.",
    "The ferry to the island leaves at seven and returns after dark.",
    "Interest compounds: a small rate over many years outgrows a large one over few.",
    "def mean(xs): return sum(xs) / len(xs)",
    "A contract needs an offer, an acceptance and something given in return.",
    "Glaciers carve valleys with flat floors and steep walls.",
    "The patient was given antibiotics and the fever fell within two days.",
    "SELECT name FROM towns WHERE population > 100000 ORDER BY name;",
    "In chess the king is never captured; the game ends when it cannot escape.",
    "Copper conducts heat better than steel, so pans have copper bottoms.",
    "How do I cancel my subscription?",
    "Light takes about eight minutes from the sun to the earth.",
    "She tuned the violin a quarter tone too low, and nobody noticed.",
    "Photosynthesis stores the energy of light in sugar.",
    "The parliament rejected the budget by three votes.",
    "Who wrote the first compiler?",
    "Rust forms when iron meets oxygen and water.",
    "An array is sorted in place by swapping neighbours that are out of order.",
    "Two hikers were lost in fog and found the next morning near the lake.",
    "Vaccines train the immune system without causing the disease.",
    "The novel begins with a funeral and ends with a wedding.",
    "Tomatoes need sun, water and support as they grow.",
    "What is the capital of Australia?",
    "Pressure rises with depth by about one bar for every ten metres of water.",
    "The court held that the search was unlawful.",
    "A hash function maps keys to slots; equal keys share a slot.",
    "Migrating birds find their way by stars, sun and magnetic field.",
    "The bank raised its rates to slow inflation.",
    "Knead the dough until it is smooth, then let it rest for an hour.",
    "Der Zug nach München hat zwanzig Minuten Verspätung.",
    "Le chat dort sur le rebord de la fenêtre.",
    "La biblioteca cierra a las ocho de la tarde.",
    "今日は雨が降っています。",
    "Москва — столица России.",
    "القاهرة مدينة كبيرة على ضفاف النيل.",
    "naïve café, “quoted”, ½ litre, 20 °C, e\u0301 and é",
    "👩‍🔬 measures 🧪 twice 🎉",
    "line one\nline two\n\n    indented line\ttabbed",
    "   spaces before and after   ",
    "https://example.org/a/b?c=d&e=f#g user@example.org 2001:db8::1",
    "ALL CAPITALS AND numbers 3.14159 1,000,000 0xff",
    "!!! ??? ... --- ///",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
)
SENTENCE = (
    "The harbour is quiet in winter, when the boats lie covered and only the gulls and the "
    "keeper of the lighthouse watch the grey water rise and fall. "
)
_HOLDING = "How to use the {token} token when a batch is padded?"
LENGTHS = (16, 48, 96, 180, 256, 400, 512, 1024, 2048, 4096, 8192, 16_384, 32_768)
# Plain attention over the longest probe takes less than this many bytes in a layer.
_PROBE_MEMORY = 1 << 30


def longest_probe(max_tokens: int, *, heads: int) -> int:
    """Return the longest probe, in tokens, whose attention fits the memory set aside for it.

    Args:
        max_tokens: The recipe's longest input.
        heads: The model's heads; plain attention holds heads x T x T floats for a layer.
    """
    return min(max_tokens, int((_PROBE_MEMORY / (4 * heads)) ** 0.5))


def probe_texts(
    tokenizer: TextTokenizer, *, longest: int, uncounted_id: int | None = None
) -> list[str]:
    """Return the probe texts for one tokenizer.

    They are plain texts, then long ones of about 16, 48, 96 … tokens below ``longest``. If the
    recipe's longest input is not above ``longest``, one text fills it and one goes far beyond it.
    If the model's positions do not count a token, one text holds that token as a word.
    """
    per_sentence = len(tokenizer.bare.encode(SENTENCE, add_special_tokens=False).ids)
    room = tokenizer.max_text_tokens(Role.PASSAGE)
    lengths = [length for length in LENGTHS if length < min(room, longest)]
    if room <= longest:
        lengths += [room, 2 * room]  # exactly full after truncation, and far beyond
    texts: list[str] = list(PLAIN)
    for number, length in enumerate(lengths):
        repeats = -(-length // max(per_sentence, 1))
        text = f"{PLAIN[1 + number]} {SENTENCE * (repeats + 1)}"
        texts.append(shortened(tokenizer, text, length))
    token = None if uncounted_id is None else tokenizer.bare.id_to_token(uncounted_id)
    if token is not None:
        texts.append(_HOLDING.format(token=token))
    return texts


def shortened(tokenizer: TextTokenizer, text: str, length: int) -> str:
    """Return the start of ``text``, about ``length`` tokens."""
    whole = tokenizer.bare.encode(text, add_special_tokens=False)
    return text if len(whole.ids) <= length else text[: whole.offsets[length - 1][1]]


def probe_rows(tokenizer: TextTokenizer, texts: list[str]) -> list[Tokens]:
    """Tokenise every text as a passage, then as a query if the prompts differ."""
    return [row for role in probe_roles(tokenizer) for row in tokenizer(texts, role=role)]


def probe_roles(tokenizer: TextTokenizer) -> Iterator[Role]:
    """Yield the roles that give different ids."""
    yield Role.PASSAGE
    if tokenizer.recipe.query_prompt != tokenizer.recipe.passage_prompt:
        yield Role.QUERY
