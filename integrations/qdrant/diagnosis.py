"""Find out what is wrong with the collections of a store, without opening them for writing.

What is here: the choice between a server and a folder, and what there is to find in a folder. The
contents of a collection are compared with what was written by ``indexing/check.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import cast

from decant.embedders import StoreError
from decant.embedders.doctor import Diagnosis, Finding, Health

from .operations.findings import find_precisions, judge_folder
from .operations.read_state import read_collection_state
from .points.payloads import PASSAGES
from .stores.input_errors import absent, check_name
from .stores.protocol import Engine, Store


def diagnose_store(store: Store, collection: str | None = None) -> Diagnosis:
    """Examine a store's collections; nothing is changed, and of points only notes are read.

    Everywhere: whether each collection opens with this decant, and whether its vectors are of
    several precisions. On a server: status and optimizers, vectors that are not in the index,
    replicas that failed, the widths of vectors, missing payload indexes, limits of strict mode that
    bind or are near, warnings of the server, and collections of other programs. In a folder: the
    vector index and free disk space.

    Args:
        store: What :func:`connect` returned; ``read_only=True`` is enough.
        collection: The only collection to examine; None: all.

    Raises:
        StoreError: The store does not answer, or there is no collection of this name.
    """
    if collection is not None:
        check_name(collection)
    if store.engine is Engine.EDGE:
        return Diagnosis(findings=tuple(_folder(store, collection)))
    # This module imports qdrant-client, which a folder does not need.
    from .server.store import RemoteStore
    from .server_health import examine

    requests = cast("RemoteStore", store).requests
    found = examine(requests, collection, precisions=partial(find_precisions, store))
    return Diagnosis(findings=tuple(found))


def _folder(store: Store, wanted: str | None) -> Iterator[Finding]:
    names = store.names()
    if wanted is not None and wanted not in names:
        raise absent(wanted, store.place, names)
    if not names:
        yield _finding("collections", Health.NOTE, f"there are none in {store.place}")
    for name in names if wanted is None else [wanted]:
        try:
            found = store.find(name)
            card, held = found.card, store.count(found.name, PASSAGES)
        except StoreError as error:
            yield _finding(name, Health.PROBLEM, str(error))
        else:
            said = f"{card.recipe.base}, recipe {card.recipe.digest()}, {held:,} passages"
            yield _finding(name, Health.GOOD, said)
            yield find_precisions(store, name)
            yield from judge_folder(name, read_collection_state(store, name))


def _finding(name: str, health: Health, detail: str) -> Finding:
    return Finding(topic="store", name=name, health=health, detail=detail)
