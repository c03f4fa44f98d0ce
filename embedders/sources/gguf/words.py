"""Give the tokenizer of a GGUF file the rules that Transformers does not read from it.

The file names how texts are split into words before pieces of them are looked up
(``tokenizer.ggml.pre``), and whether BOS and EOS are added. Transformers splits as GPT-2 does,
whatever is named, so that numbers and line breaks get other tokens than those that the model was
trained with.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors

from ...errors import RecipeError
from .facts import GgufFacts

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# The patterns in the `tokenizer.json` of Llama 3 and of Qwen 2, 2.5 and 3: numbers in groups of up
# to three digits, and digit by digit.
_PATTERNS = {
    "llama-bpe": _CONTRACTIONS + r"\p{N}{1,3}" + _REST,
    "qwen2": _CONTRACTIONS + r"\p{N}" + _REST,
}
_GPT2 = ("", "default", "gpt-2")
_DIGITS = ("smollm",)
_WHOLE_WORDS = ("llama-bpe",)  # a word that is a token stays one, whatever merges would give
_COMPOSED = ("qwen2",)  # texts are normalised to NFC
_SENTENCE_PIECE = "llama"
_BYTES = "gpt2"


def set_rules(tokenizer: Tokenizer, facts: GgufFacts, path: Path) -> None:
    """Set splitting, BOS and EOS as the file names them, in place.

    Args:
        tokenizer: As Transformers made it from the file.
        facts: Of the file.
        path: The file, for messages.

    Raises:
        RecipeError: The vocabulary or its way of splitting is not known.
    """
    if facts.words == _BYTES:
        _set_splitting(tokenizer, facts.split, path)
    elif facts.words != _SENTENCE_PIECE:
        raise RecipeError(
            f"{path} has a vocabulary of the kind {facts.words or '(none)'}; known are {_BYTES} "
            f"and {_SENTENCE_PIECE}; give the folder of the model that it was made from"
        )


def _set_splitting(tokenizer: Tokenizer, split: str, path: Path) -> None:
    known = [*_GPT2[1:], *_DIGITS, *_PATTERNS]
    if split in _GPT2:
        return
    if split in _DIGITS:
        alone = pre_tokenizers.Digits(individual_digits=True)
        bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([alone, bytewise])
        return
    if split not in _PATTERNS:
        raise RecipeError(
            f"{path} splits texts in the way {split}, which decant does not know (known are "
            f"{', '.join(known)}): tokens would be wrong; give the folder of the model that it was "
            "made from"
        )
    by_pattern = pre_tokenizers.Split(Regex(_PATTERNS[split]), behavior="isolated", invert=False)
    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([by_pattern, bytewise])
    if split in _WHOLE_WORDS:
        tokenizer.model.ignore_merges = True
    if split in _COMPOSED:
        tokenizer.normalizer = normalizers.NFC()


def set_ends(tokenizer: Tokenizer, facts: GgufFacts, *, bos: str | None, eos: str | None) -> None:
    """Add BOS and EOS to texts, or leave them out, as the file says; else as it is.

    Args:
        tokenizer: Changed in place.
        facts: Of the file.
        bos: The token that begins a text; None: there is none.
        eos: The token that ends one.

    Raises:
        RecipeError: A token is to be added that the file does not name.
    """
    if facts.begins is None and facts.ends is None:
        return
    ids = tokenizer.encode("a").ids
    first, last = (None if one is None else tokenizer.token_to_id(one) for one in (bos, eos))
    begins = ids[:1] == [first] if facts.begins is None else facts.begins
    ends = ids[-1:] == [last] if facts.ends is None else facts.ends
    if (begins and first is None) or (ends and last is None):
        raise RecipeError("the GGUF file adds a BOS or EOS token to texts and does not name it")
    around = ([bos] if begins else []), ([eos] if ends else [])
    single = [*around[0], "$A", *around[1]]
    pair = [*single, *around[0], "$B:1", *around[1]]
    named = [(one, tokenizer.token_to_id(one)) for one in (bos, eos) if one is not None]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=named
    )
