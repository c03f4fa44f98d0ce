"""Make and open collections: what they say of themselves must fit the encoder at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

from decant.embedders import Encoder, StoreError

from .inference.server_encoder import ServerEncoder
from .inference.server_inference import ServerInference
from .matryoshka.prefix import chosen_prefix
from .points.handle import Target, refused_adopted
from .stores.aliases import FoundCollection
from .stores.collection_metadata import CollectionMetadata
from .stores.collection_settings import CollectionSettings, Layout
from .stores.input_errors import AbsentError, StoreInputError, check_name
from .stores.protocol import Engine, Store
from .stores.text_to_embed import texts_need_a_server
from .tenants.tenant_store import TenantStore
from .tenants.unbound_store import UnboundStore, guarded


def create_target(
    store: Store,
    name: str,
    encoder: Encoder | ServerInference,
    settings: CollectionSettings | None,
) -> Target:
    """Make an empty collection; see :meth:`Collection.create`."""
    _check(store, name, encoder)
    if isinstance(encoder, ServerInference | ServerEncoder):
        raise StoreError(
            "the recipe of a new collection comes from its model, which is not on this machine; "
            f"make {name!r} where the model is: decant create {store.place} {name} --model BUNDLE"
        )
    settings = settings or CollectionSettings()
    prefix = chosen_prefix(settings, encoder)
    card = CollectionMetadata.of(encoder, settings, prefix=prefix)
    store.create(name, card, settings)
    return target_of(store, FoundCollection(name=name, card=card), encoder)


def open_target(store: Store, name: str, encoder: Encoder | ServerInference) -> Target:
    """Open a collection; see :meth:`Collection.open`."""
    _check(store, name, encoder)
    found = store.find(name)
    card = found.card
    store = guarded(store, found.name, card)
    if isinstance(encoder, ServerInference):
        if card.payload_layout is not None:
            raise refused_adopted(name, "embedding on the server")
        if card.prefix:
            raise StoreInputError(
                f"{name!r} in {store.place} is searched by the first {card.prefix} values of its "
                "vectors, which a server cannot cut from those that it has made; open it with the "
                "encoder, or make a collection without a prefix"
            )
        if store.engine is not Engine.REMOTE:
            raise texts_need_a_server(f"EdgeStore, which holds {name!r} in {store.place},")
        encoder = ServerEncoder(encoder, store, found.name, card)
    card.check(encoder, where=f"collection {name!r} in {store.place}")
    target = target_of(store, found, encoder)
    return target if found.name == name else replace(target, alias=name)


def tenant_target(target: Target, tenant: str) -> Target:
    """Return a collection as one tenant sees it; see :meth:`Collection.tenant`."""
    if isinstance(target.store, UnboundStore):
        store = target.store.of_tenant(tenant, called=target.called)
    else:
        store = TenantStore.of(target.store, target.name, tenant)  # which says why it cannot be
    encoder = target.encoder
    if isinstance(encoder, ServerEncoder):
        encoder = encoder.of_store(store)
    return replace(target, store=store, encoder=encoder)


def open_or_create_target(
    store: Store,
    name: str,
    encoder: Encoder | ServerInference,
    settings: CollectionSettings | None,
) -> Target:
    """Open a collection or make it; see :meth:`Collection.open_or_create`."""
    try:
        target = open_target(store, name, encoder)
    except AbsentError:
        try:
            return create_target(store, name, encoder, settings)
        except StoreError as error:
            try:
                target = open_target(store, name, encoder)  # another creator may have been faster
            except AbsentError:
                raise error from error.__cause__
    if settings is not None and settings.words not in (None, target.words):
        held = "without an index of words" if target.words is None else f"with {target.words!r}"
        raise StoreError(
            f"the collection {name!r} in {store.place} was made {held}, which cannot be changed to "
            f"{settings.words!r}; make another, or drop this one and index again"
        )
    if settings is not None:
        _check_layout(store, target.name, settings)
        _check_tenants(target, settings)
    if settings is not None and settings.soft_tokens and target.soft_tokens is None:
        raise StoreError(
            f"the collection {name!r} in {store.place} was made without states and cannot get "
            "them; make another, or drop this one and index again"
        )
    if settings is not None:
        _check_token_vectors(target, settings)
    return target


def _check_token_vectors(target: Target, settings: CollectionSettings) -> None:
    """Refuse token vectors for a collection without them, or with others than it has."""
    asked, held = settings.token_vectors, target.token_vectors
    if asked is None or (held is not None and held.settings == asked):
        return
    said = "without token vectors" if held is None else f"with {held.settings!r}"
    raise StoreError(
        f"the collection {target.name!r} in {target.store.place} was made {said}, which cannot be "
        f"changed to {asked!r}; make another, or drop this one and index again"
    )


def _check_tenants(target: Target, settings: CollectionSettings) -> None:
    """Refuse settings with tenants for a collection without them, or with others than it has."""
    if settings.tenants in (None, target.tenants):
        return
    held = "without tenants" if target.tenants is None else f"with {target.tenants!r}"
    raise StoreError(
        f"the collection {target.name!r} in {target.store.place} was made {held}, which cannot be "
        f"changed to {settings.tenants!r}; make another, or drop this one and index again"
    )


def _check_layout(store: Store, name: str, settings: CollectionSettings) -> None:
    """Refuse settings whose layout is not that of the collection, which nothing changes quietly."""
    asked = settings.layout
    if asked == Layout():
        return
    if differences := store.layout(name).differences(asked):
        raise StoreError(
            f"the collection {name!r} in {store.place} has another layout: "
            f"{'; '.join(differences.values())}. Open it without these settings, or change it with "
            "Collection.relayout (`decant relayout`); shards, replicas and prefix need a new "
            "collection (`decant migrate`)"
        )


def _check(store: object, name: str, encoder: object) -> None:
    """Refuse what is no store, no name or no encoder.

    Raises:
        TypeError: A folder, an address or a client stands where the store should, or a bundle's
            path where the encoder should; the message says how to open it.
        StoreError: The name cannot be one.
    """
    if isinstance(store, str | PurePath) or not hasattr(store, "card"):
        raise TypeError(
            f"a collection lies in a store, and this is {_shown(store)}; give what connect() "
            "returns for a folder, an address or a client: connect('./index')"
        )
    check_name(name)
    if isinstance(encoder, ServerInference):
        return
    if not (hasattr(encoder, "recipe") and hasattr(encoder, "encode")):
        raise TypeError(
            f"a collection is opened with the encoder that fills it, and this is {_shown(encoder)}"
            "; give what load() of decant.embedders returns for a bundle: load('./minilm')"
        )


def _shown(value: object) -> str:
    kind = type(value).__name__
    return f"the {kind} {str(value)!r}" if isinstance(value, str | PurePath) else f"a {kind}"


def target_of(store: Store, found: FoundCollection, encoder: Encoder) -> Target:
    """Return the handle of a collection that was found, with its encoder, which is not checked."""
    card = found.card
    return Target(
        store=guarded(store, found.name, card),
        name=found.name,
        mark=card.mark,
        encoder=encoder,
        sparse=card.sparse,
        soft_tokens=card.soft_tokens,
        words=card.words,
        tenants=card.tenants,
        search=card.search,
        payload_layout=card.payload_layout,
        prefix=card.prefix,
        token_vectors=card.token_vectors,
    )
