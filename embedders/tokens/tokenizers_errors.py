"""Call the tokenizers package, and turn its failures into decant's errors.

The package is Rust. It fails with a bare ``Exception``, or with a panic, which is no ``Exception``
at all, so that callers do not catch it. A regular expression in ``tokenizer.json`` that backtracks
without end is such a case: the panic comes after some tenths of a second for each text, and Rust's
message on stderr cannot be suppressed. And its threads do not survive a fork.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import DecantError, RecipeError, TextError
from ..forks import forked

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

_SHOWN = 40
_PANIC = "PanicException"  # the class of pyo3, which cannot be imported


@contextmanager
def rust_errors(error: type[DecantError], message: str) -> Iterator[None]:
    """Turn the errors of the tokenizers package, panics included, into an error of ours.

    Args:
        error: The class of the error.
        message: What happened; the reason is appended.
    """
    try:
        yield
    except Exception as cause:
        raise error(f"{message}: {cause}") from cause
    except BaseException as cause:
        if type(cause).__name__ != _PANIC:
            raise
        raise error(f"{message}: {cause}") from cause


def encode_texts(
    tokenizer: Tokenizer,
    texts: Sequence[str] | Sequence[tuple[str, str]],
    *,
    first: int,
    special: bool = True,
) -> list[Encoding]:
    """Tokenise texts together; in a forked child one after the other.

    Args:
        tokenizer: The tokenizer.
        texts: The texts, or pairs of texts, of which the second is what is counted.
        first: The caller's number of the first text, for messages.
        special: Whether special tokens are added.

    Raises:
        TextError: The tokenizer fails on a text; the message holds its index.
    """
    if not forked():
        try:
            with rust_errors(TextError, "the tokenizer fails"):
                return tokenizer.encode_batch(list(texts), add_special_tokens=special)
        except TextError:
            if not texts:
                raise  # each text is tried alone below, so that the error names the right one
    found = []
    for index, text in enumerate(texts, start=first):
        one, second = (text, None) if isinstance(text, str) else text
        shown = (one if second is None else second)[:_SHOWN]
        with rust_errors(TextError, f"the tokenizer fails on text {index}, {shown!r}"):
            found.append(tokenizer.encode(one, second, add_special_tokens=special))
    return found


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> Encoding:
    """Tokenise a prompt.

    Raises:
        RecipeError: The tokenizer fails on it.
    """
    with rust_errors(RecipeError, f"the tokenizer fails on the prompt {prompt[:_SHOWN]!r}"):
        return tokenizer.encode(prompt)
