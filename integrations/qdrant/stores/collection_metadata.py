"""The metadata of a collection: its recipe, the kinds of its vectors, its format.

They are written when the collection is created: into the collection's metadata on a server, into a
file next to the shard for Edge. Only the search defaults change later. Invariant: a collection
never holds vectors of two recipes.
"""

from __future__ import annotations

import json
import secrets
import uuid
from dataclasses import dataclass, field, fields
from typing import Self

from decant.embedders import (
    CollectionMismatch,
    Encoder,
    Output,
    Recipe,
    RecipeError,
    Role,
    StoreError,
)
from decant.embedders.json_records import Json, decode, encode, parse

from ..foreign_payloads.payload_layout import PayloadLayout
from ..late.token_vectors import StoredTokenVectors
from .collection_settings import CollectionSettings, Tenants
from .search_defaults import SearchDefaults
from .words import Words

FORMAT = 9
# Metadata get the oldest format that can express them. So a decant that knows no sparse vectors, no
# soft tokens, no words or no foreign layouts reads collections without them; collections with them
# it must refuse, or it would add points that lack them, or read none. Of a collection with tenants
# it would show everybody's data, to one with prefixes add points that no search finds, of one that
# is being restored show a part as if it were the whole, and to one with token vectors add points
# without.
_DENSE_FORMAT, _SPARSE_FORMAT, _STATES_FORMAT, _WORDS_FORMAT, _ADOPTED_FORMAT = 1, 2, 3, 4, 5
_TENANTS_FORMAT, _PREFIX_FORMAT, _RESTORING_FORMAT, _TOKENS_FORMAT = 6, 7, 8, 9
# Search defaults have no format: a decant that does not know the key searches without them.
_SEARCH = "search"
_KEY_BYTES = 16


def _new_mark() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionMetadata:
    """The facts about a collection that need no look at its points.

    Args:
        recipe: The recipe, which decides its vectors.
        dim: The width D of the dense vectors.
        sparse: Whether points also have sparse vectors. A collection has them from the start or
            never: an old decant without sparse vectors may have created a collection for a recipe
            with a sparse head.
        soft_tokens: The width d' of the soft tokens of points; None: they have none.
        words: How the words of texts are indexed; None: they are not.
        mark: A random value for each created collection, by which a creator whose answer got lost
            recognises its own collection.
        tenants: How passages belong to tenants; None: they belong to nobody.
        tenant_key: Random; the ids of tenants' points are computed with it (:class:`TenantIds`).
        search: How it is searched where a search does not specify it; None: as this decant does.
        payload_layout: How another program laid out its points, if it was adopted.
        restoring: The digest of the dump that it is being restored from; None: it is complete.
        prefix: How many first values of dense vectors are a vector of their own; 0: there is none.
        token_vectors: What is kept of token vectors; None: nothing is.
    """

    recipe: Recipe
    dim: int
    sparse: bool = False
    soft_tokens: int | None = None
    words: Words | None = None
    tenants: Tenants | None = None
    tenant_key: str = ""
    mark: str = field(default_factory=_new_mark)
    search: SearchDefaults | None = None
    payload_layout: PayloadLayout | None = None
    restoring: str | None = None
    prefix: int = 0
    token_vectors: StoredTokenVectors | None = None

    @classmethod
    def of(
        cls, encoder: Encoder, settings: CollectionSettings | None = None, *, prefix: int = 0
    ) -> Self:
        """Return the metadata of a new collection.

        Args:
            encoder: The encoder that will fill it.
            settings: What its points have in addition to dense vectors, and whose they are; None:
                the default settings.
            prefix: How many first values are a vector of their own (:func:`chosen_prefix`).

        Raises:
            RecipeError: Soft tokens are asked for, and the encoder's recipe appends no tokens.
            StoreError: Token vectors are, and the recipe has no late interaction.
        """
        settings = settings or CollectionSettings()
        recipe, tenants = encoder.recipe, settings.tenants
        tokens = settings.token_vectors
        return cls(
            recipe=recipe,
            dim=encoder.dim,
            sparse=recipe.sparse_head is not None,
            soft_tokens=_soft_token_width(encoder) if settings.soft_tokens else None,
            words=settings.words,
            tenants=tenants,
            tenant_key="" if tenants is None else secrets.token_hex(_KEY_BYTES),
            prefix=prefix,
            token_vectors=None if tokens is None else StoredTokenVectors.of(encoder, tokens),
        )

    def to_json(self) -> str:
        """Return the metadata as readable JSON text."""
        shown: dict[str, Json] = {
            "format": self._format,
            **({"sparse": self.sparse} if self._format >= _SPARSE_FORMAT else {}),
            **({"states": self.soft_tokens} if self._format >= _STATES_FORMAT else {}),
            **({"words": encode(self.words)} if self._format >= _WORDS_FORMAT else {}),
            **({"tenants": encode(self.tenants)} if self._format >= _TENANTS_FORMAT else {}),
            **({"tenant_key": self.tenant_key} if self._format >= _TENANTS_FORMAT else {}),
            **self._adopted_fields,
            **({"prefix": self.prefix} if self._format >= _PREFIX_FORMAT else {}),
            **({"tokens": encode(self.token_vectors)} if self._format >= _TOKENS_FORMAT else {}),
            **({} if self.restoring is None else {"restoring": self.restoring}),
            "digest": self.recipe.digest(),
            "dim": self.dim,
            "mark": self.mark,
            **({} if self.search is None else {_SEARCH: encode(self.search)}),
            "recipe": json.loads(self.recipe.to_json()),
        }
        return _written(shown)

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Args:
            text: JSON text.
            where: The collection, for messages.

        Raises:
            StoreError: The metadata are damaged or of a newer format.
        """
        try:
            held = json.loads(text)
            if held["format"] > FORMAT:
                raise StoreError(
                    f"{where} has format {held['format']}, this decant reads up to {FORMAT}; "
                    "upgrade decant"
                )
            recipe = Recipe.from_json(json.dumps(held["recipe"]))
            card = cls(
                recipe=recipe,
                dim=int(held["dim"]),
                sparse=held["format"] >= _SPARSE_FORMAT and bool(held["sparse"]),
                soft_tokens=_width(held["states"]) if held["format"] >= _STATES_FORMAT else None,
                words=_words(held["words"], where) if held["format"] >= _WORDS_FORMAT else None,
                tenants=_tenants(held["tenants"], where)
                if held["format"] >= _TENANTS_FORMAT
                else None,
                tenant_key=str(held["tenant_key"]) if held["format"] >= _TENANTS_FORMAT else "",
                prefix=int(held["prefix"]) if held["format"] >= _PREFIX_FORMAT else 0,
                payload_layout=_payload_layout(held["payload_layout"], where)
                if held["format"] >= _ADOPTED_FORMAT
                else None,
                mark=str(held["mark"]),
                search=SearchDefaults.from_json(held.get(_SEARCH), where=where),
                # Of format 8 it is always there, of a later one only while that is so.
                restoring=held.get("restoring") if held["format"] >= _RESTORING_FORMAT else None,
                token_vectors=_token_vectors(held["tokens"], where)
                if held["format"] >= _TOKENS_FORMAT
                else None,
            )
            digest = str(held["digest"])
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"the metadata of {where} cannot be read ({_said(error)}); if a newer decant made "
                "it, upgrade decant, else make the collection again"
            ) from error
        if recipe.digest() != digest:
            raise StoreError(
                f"the metadata of {where} are damaged: their recipe has digest {recipe.digest()}, "
                f"and they state {digest}; make the collection again"
            )
        return card

    @property
    def _adopted_fields(self) -> dict[str, Json]:
        if self._format < _ADOPTED_FORMAT:
            return {}
        return {"payload_layout": encode(self.payload_layout)}

    @property
    def _format(self) -> int:
        if self.token_vectors is not None:
            return _TOKENS_FORMAT
        if self.restoring is not None:
            return _RESTORING_FORMAT
        if self.prefix:
            return _PREFIX_FORMAT
        if self.tenants is not None:
            return _TENANTS_FORMAT
        if self.payload_layout is not None:
            return _ADOPTED_FORMAT
        if self.words is not None:
            return _WORDS_FORMAT
        if self.soft_tokens is not None:
            return _STATES_FORMAT
        return _SPARSE_FORMAT if self.sparse else _DENSE_FORMAT

    def checked_complete(self, name: str, place: str) -> Self:
        """Return the metadata, unless the collection is still being restored from a dump.

        Raises:
            StoreError: It is; the message says what completes it.
        """
        if self.restoring is None:
            return self
        raise StoreError(
            f"the collection {name!r} in {place} is being restored from a dump and does not hold "
            "all of it yet; if that was interrupted, run the same restore again, which goes on "
            f"where it was, or delete the part with store.drop({name!r}) (`decant drop {name}`)"
        )

    def check(self, encoder: Encoder, *, where: str) -> None:
        """Refuse an encoder whose vectors do not belong to this collection.

        Raises:
            CollectionMismatch: The message names both recipes and the fields that differ.
        """
        theirs = encoder.recipe
        if theirs.digest() == self.recipe.digest() and encoder.dim == self.dim:
            return
        held, given = _facts(self.recipe, self.dim), _facts(theirs, encoder.dim)
        differ = [
            f"{key}: {held.get(key)!r} there, {given.get(key)!r} here"
            for key in sorted({*held, *given})
            if held.get(key) != given.get(key)
        ]
        raise CollectionMismatch(
            f"{where} was filled by {self.recipe.base} ({self.recipe.digest()}), the encoder is "
            f"{theirs.base} ({theirs.digest()}); they differ in {'; '.join(differ)}. Open it "
            "with the encoder that filled it, or make a new collection for this one"
        )


def with_search_defaults(text: str, search: SearchDefaults | None, *, where: str) -> str:
    """Return metadata with other search defaults; everything else stays, read or not.

    Args:
        text: JSON text, as :meth:`CollectionMetadata.to_json` writes it.
        search: The defaults, or None for none.
        where: The collection, for messages.

    Raises:
        StoreError: The text is no JSON object.
    """
    held = parse(text, where=f"the metadata of {where}", error=StoreError)
    if not isinstance(held, dict):
        raise StoreError(f"the metadata of {where} are damaged; make the collection again")
    shown = {key: value for key, value in held.items() if key != _SEARCH}
    return _written(shown if search is None else {**shown, _SEARCH: encode(search)})


def _written(shown: dict[str, Json]) -> str:
    return json.dumps(shown, indent=2, ensure_ascii=False) + "\n"


def _soft_token_width(encoder: Encoder) -> int:
    # The shape of zero texts' soft tokens, because the recipe does not state the model's width.
    states = encoder.encode([], role=Role.PASSAGE, outputs=[Output.SOFT_TOKENS]).soft_tokens
    if states is None:
        raise StoreError(
            f"the encoder of {encoder.recipe.base} gave no soft tokens although it was asked for "
            "them; its encode() must obey `outputs`"
        )
    width: int = states.shape[2]
    return width


def _width(stored: object) -> int | None:
    return None if stored is None else int(str(stored))


def _words(stored: object, where: str) -> Words | None:
    return None if stored is None else decode(Words, stored, where=where, error=StoreError)


def _token_vectors(stored: object, where: str) -> StoredTokenVectors:
    return decode(StoredTokenVectors, stored, where=where, error=StoreError)


def _tenants(stored: object, where: str) -> Tenants | None:
    return None if stored is None else decode(Tenants, stored, where=where, error=StoreError)


def _payload_layout(stored: object, where: str) -> PayloadLayout | None:
    return None if stored is None else decode(PayloadLayout, stored, where=where, error=StoreError)


def _facts(recipe: Recipe, dim: int) -> dict[str, object]:
    """Return a recipe's fields for messages, with prompts as templates."""
    facts: dict[str, object] = {
        one.name: encode(getattr(recipe, one.name)) for one in fields(recipe)
    }
    prompts = {f"{role}_prompt": recipe.prompt(role).template for role in Role}
    return {**facts, **prompts, "width": dim}


def _said(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error) if not isinstance(error, RecipeError) else f"recipe: {error}"
