"""Ask a server for its model, and check that it is what it says: recipe, tokenizer, vectors.

What a bundle's own loading demands holds here too: the recipe has its digest, the tokenizer gives
the golden token ids with the ``tokenizers`` package of this machine, and vectors agree with the
reference as well as the certificate of the precision demands.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from .. import json_records
from ..bundle.bundle import Golden
from ..encoding.protocol import Encoder
from ..errors import BundleError, ParityError, RecipeError, RemoteError, TextError
from ..recipe.prompt import Role
from ..tokens.tokenizer import TextTokenizer
from ..tokens.tokenizers_errors import rust_errors
from .client import EncoderClient
from .faults import Answer
from .wire import FACTS_PATH, PROTOCOL, TOKENIZER_PATH, EncoderFacts

_MOST_FACTS = 2**24  # bytes; recipe, golden ids and golden vectors take some hundred thousand
_MOST_TOKENIZER = 2**29  # as for a tokenizer in a bundle


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedModel:
    """A served model as a client holds it.

    Args:
        facts: What the server says of it.
        tokenizer: Its bare tokenizer.
        text_tokenizer: The same with the recipe's prompts and limits; None if the served encoder
            has none.
    """

    facts: EncoderFacts
    tokenizer: Tokenizer
    text_tokenizer: TextTokenizer | None


def read_model(client: EncoderClient) -> OpenedModel:
    """Ask a server for its model.

    Raises:
        RemoteError: It does not answer, has no such model or several, or speaks another version of
            the protocol.
        BundleError: Its recipe has another digest here, or its tokenizer gives other ids.
    """
    facts = _read_facts(client)
    data = _content(client, client.get(TOKENIZER_PATH, most_bytes=_MOST_TOKENIZER))
    found = hashlib.sha256(data).hexdigest()
    if found != facts.tokenizer:
        raise RemoteError(
            f"{client.url} sent a tokenizer whose SHA-256 begins with {found[:12]}, and announced "
            f"{facts.tokenizer[:12]}: it was altered on the way, or the server was restarted in "
            "between; open it again"
        )
    with rust_errors(BundleError, f"the tokenizer of {client.url} cannot be read here"):
        bare = Tokenizer.from_buffer(data)
    if not facts.golden_ids:
        return OpenedModel(facts=facts, tokenizer=bare, text_tokenizer=None)
    try:
        tokenizer = TextTokenizer(bare, facts.recipe)
        given = [Golden(role=role, text=text, ids=ids) for role, text, ids in tokenizer.golden()]
    except (RecipeError, TextError) as error:
        raise BundleError(f"the tokenizer of {client.url} does not work here: {error}") from error
    for wanted in facts.golden_ids:
        if wanted not in given:
            raise BundleError(
                f"the tokenizers package here turns {wanted.text[:40]!r} ({wanted.role}) into "
                f"other token ids than that of {client.url}; install the same version of "
                "tokenizers and of decant on both sides"
            )
    return OpenedModel(facts=facts, tokenizer=tokenizer.bare, text_tokenizer=tokenizer)


def check_golden_vectors(encoder: Encoder, facts: EncoderFacts, *, where: str) -> None:
    """Refuse a server whose vectors are not those of the bundle's reference.

    Raises:
        ParityError: The cosine of a golden text's vector is below what the certificate of the
            precision demands of the worst.
    """
    least, _ = facts.precision.gates
    for role in Role:
        golden = [one for one in facts.golden if one.role is role]
        given = encoder.encode([one.text for one in golden], role=role).dense.astype(np.float64)
        wanted = np.array([one.vector for one in golden], np.float64).reshape(given.shape)
        lengths = np.linalg.norm(given, axis=1) * np.linalg.norm(wanted, axis=1)
        cosines = (given * wanted).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
        for one, cosine in zip(golden, cosines.tolist(), strict=True):
            if not cosine >= least:
                raise ParityError(
                    f"{where} gives the {role} {one.text[:40]!r} a vector whose cosine to the one "
                    f"it should have is {cosine:.6f}, and {facts.precision} needs {least}: its "
                    "graph is damaged, or another model answers. Run `decant verify` on the bundle "
                    "there, or pass allow_uncertified=True"
                )


def _read_facts(client: EncoderClient) -> EncoderFacts:
    answer = client.get(FACTS_PATH, most_bytes=_MOST_FACTS)
    where = f"what {client.url}{FACTS_PATH} says"
    data = json_records.parse(_content(client, answer), where=where, error=RemoteError)
    # Before it is decoded: another version may have keys that would be called unknown.
    found = data.get("protocol") if isinstance(data, dict) else None
    if type(found) is not int:
        raise RemoteError(
            f"{client.url}{FACTS_PATH} answers something that is no encoder of decant; check the "
            "address"
        )
    if found != PROTOCOL:
        raise RemoteError(
            f"{client.url} speaks version {found} of the protocol, and this decant version "
            f"{PROTOCOL}; run the same version of decant on both sides"
        )
    return json_records.decode(EncoderFacts, data, where=where, error=BundleError)


def _content(client: EncoderClient, answer: Answer) -> bytes:
    if answer.refusal is None:
        return answer.body
    raise RemoteError(f"{client.url} gives no encoder: {answer.message}")
