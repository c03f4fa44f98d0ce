"""Begin a migration, or find one again: the new collection, and the notes of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import TypeAlias, cast

from decant.embedders import Encoder, StoreError
from decant.embedders.json_records import encode

from ..inference.server_inference import ServerInference
from ..late.token_vectors import TokenVectors
from ..matryoshka.prefix import chosen_prefix
from ..open import target_of
from ..points.provenance import Filling
from ..stores.aliases import FoundCollection, MigrationNote
from ..stores.collection_metadata import CollectionMetadata
from ..stores.collection_settings import CollectionSettings, Layout
from ..stores.input_errors import AbsentError, StoreInputError
from ..stores.protocol import Engine, Store
from ..tenants.unbound_store import whole_store
from .migration import Migration, Route

_Settings: TypeAlias = Callable[[], CollectionSettings]


def migrate(
    store: Store,
    name: str,
    encoder: Encoder,
    *,
    layout: Layout | None = None,
    to: Store | None = None,
) -> Migration:
    """Begin to migrate a collection to another encoder, layout or store, or find it again.

    An empty collection is made beside the old one, named after the name and what it shall hold, and
    both note the migration; :meth:`Migration.run` fills it. The same arguments always find the same
    migration, in any process. The new collection indexes the same words and metadata entries, and
    has the same tenants. That of an adopted collection is in decant's own layout.

    Args:
        store: The store of the collection.
        name: The name by which it is opened: its own, or an alias.
        encoder: What makes the new vectors. If it made the old ones, too, they are copied.
        layout: Where the layout shall differ from the old one.
        to: Another store; the name is an alias there afterwards.

    Raises:
        StoreError: There is no such collection, another migration of it is under way, or the new
            one cannot be made.
        TenantError: A store is that of one tenant.
        TypeError: ``encoder`` is no encoder of this process.
    """
    if isinstance(encoder, ServerInference) or not hasattr(encoder, "encode"):
        raise TypeError(
            "a migration embeds texts in this process; give what load() of decant.embedders "
            f"returns for a bundle, not a {type(encoder).__name__}"
        )
    what = f"migrating {name!r}"
    store = whole_store(store, what)
    found, there = store.find(name), store if to is None else whole_store(to, what)
    wanted = f"{name}__{_digest(encoder, layout or Layout())}"
    if found.name == wanted and to is None:
        return _completed(store, name, found, encoder)
    note = store.aliases.note(found.name)
    if note is not None and note.following not in (None, wanted):
        raise StoreError(
            f"{found.name!r} in {store.place} is already migrated to {note.following!r}; complete "
            "that with the same encoder and layout, or roll it back (`decant migrate --rollback`)"
        )
    if to is not None:
        _check_free(there, name, wanted)
    settings = partial(_settings, store, found, there, encoder, layout or Layout())
    card = _made(there, wanted, encoder, found, settings)
    route = Route(
        alias=name,
        store=store,
        source=found.name,
        target=target_of(there, FoundCollection(name=wanted, card=card), encoder),
    )
    _note(route, note)
    is_done = to is not None and note is not None and note.cut_over_at is not None
    return Migration(route, is_done=is_done)


def _digest(encoder: Encoder, layout: Layout) -> str:
    shown = cast("dict[str, object]", encode(layout))
    # Without what earlier versions did not have, so that their migrations are found again.
    del shown["allow_any_dim"]
    if layout.prefix is None:
        del shown["prefix"]
    facts = {
        "recipe": encoder.recipe.digest(),
        "dim": encoder.dim,
        "precision": Filling.of(encoder).precision,
        "layout": shown,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


def _completed(store: Store, name: str, found: FoundCollection, encoder: Encoder) -> Migration:
    """Return the migration whose new collection the name means already."""
    aliases = store.aliases
    note = aliases.note(found.name) or MigrationNote(alias=name)
    previous = note.previous
    if previous is not None and (held := aliases.note(previous)) is not None:
        # The process may have ended just before it noted that.
        aliases.set_note(previous, replace(held, is_closed=True))
    target = target_of(store, found, encoder)
    route = Route(alias=name, store=store, source=found.name, target=target)
    return Migration(route, is_done=True)


def _check_free(there: Store, name: str, wanted: str) -> None:
    try:
        held = there.find(name).name
    except AbsentError:
        return
    if held != wanted:
        raise StoreInputError(
            f"there is a collection {name!r} in {there.place} already, so the name cannot mean "
            "the new one there; drop it, or migrate to another store"
        )


def _made(
    there: Store, wanted: str, encoder: Encoder, like: FoundCollection, settings: _Settings
) -> CollectionMetadata:
    """Return the metadata of the new collection, which is made if it is not there."""
    try:
        card = there.card(wanted)
    except AbsentError:
        chosen = settings()
        prefix = chosen_prefix(chosen, encoder)
        card = CollectionMetadata.of(encoder, chosen, prefix=prefix)
        there.create(wanted, card, chosen)
        if like.card.search is not None and card.recipe == like.card.recipe:
            there.set_search_defaults(wanted, like.card.search)
        return there.card(wanted)
    card.check(encoder, where=f"collection {wanted!r} in {there.place}")
    return card


def _settings(
    store: Store, found: FoundCollection, there: Store, encoder: Encoder, layout: Layout
) -> CollectionSettings:
    """Return the settings of the old collection with the changes of the layout."""
    held = store.layout(found.name)
    kept = CollectionSettings(
        storage=held.storage,
        originals=held.originals,
        indexed=store.aliases.indexed(found.name),
        soft_tokens=found.card.soft_tokens is not None and encoder.recipe.appended is not None,
        words=found.card.words,
        tenants=found.card.tenants,
        prefix=found.card.prefix,
        token_vectors=_kept_token_vectors(found.card, encoder),
        # What was allowed for this model stays so.
        allow_any_dim=found.card.recipe == encoder.recipe,
    )
    if store.engine is Engine.REMOTE and there.engine is Engine.REMOTE:
        kept = replace(
            kept,
            shards=held.shards,
            replicas=held.replicas,
            write_consistency=held.write_consistency,
            strict=held.strict or None,
        )
    if layout.originals is None and (layout.storage is not None or layout.prefix is not None):
        kept = replace(kept, originals=None)
    given = {one.name: value for one in fields(Layout) if (value := getattr(layout, one.name))}
    if layout.prefix is not None:
        given |= {"prefix": layout.prefix, "allow_any_dim": layout.allow_any_dim}
    return replace(kept, **given)


def _kept_token_vectors(card: CollectionMetadata, encoder: Encoder) -> TokenVectors | None:
    """Return what is kept of token vectors, as before; nothing if the model has none."""
    if card.token_vectors is None or encoder.recipe.late_interaction is None:
        return None
    return card.token_vectors.settings


def _note(route: Route, held: MigrationNote | None) -> None:
    """Note the migration in both collections, unless that is done."""
    store, target, place = route.store, route.target, None
    if route.changes_store:
        place = store.place
    begun = target.store.aliases.note(target.name)
    if begun is None or begun.previous != route.source or begun.is_closed:
        note = MigrationNote(alias=route.alias, previous=route.source, previous_place=place)
        target.store.aliases.set_note(target.name, note)
    if held is None or held.following is None:
        following = target.store.place if route.changes_store else None
        note = held or MigrationNote(alias=route.alias)
        store.aliases.set_note(
            route.source, replace(note, following=target.name, following_place=following)
        )
