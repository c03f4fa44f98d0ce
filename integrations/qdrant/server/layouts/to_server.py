"""What a server is sent for a layout, by its version; a preset that it lacks is refused by name.

Only the dense vector is compressed, or its prefix where that is searched first: soft tokens are
never compared, and a quantization of the whole collection would compress them, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, assert_never

from qdrant_client import models

from decant.embedders import StoreError

from ...matryoshka.prefix import prefix_part, whole_part
from ...stores.collection_metadata import CollectionMetadata
from ...stores.collection_settings import Layout, Originals, Storage, StoredLayout
from ...stores.input_errors import StoreInputError
from ...stores.protocol import DENSE, PREFIX, STATES, TOKENS

OLDEST: dict[Storage, tuple[int, int]] = {
    Storage.FULL: (1, 16),
    Storage.INT8: (1, 16),
    Storage.BINARY: (1, 16),
    Storage.TURBO4: (1, 18),
    Storage.TURBO1: (1, 18),
}
"""The oldest server of each storage; 1.16 is the oldest that decant works with at all."""

_MEMORY = (1, 19)  # from here `memory`, which replaces `on_disk` and `always_ram`
_QUANTILE = 0.99  # of the numbers, by which INT8 sets its range: Qdrant's advice

Quantization: TypeAlias = (
    models.ScalarQuantization | models.BinaryQuantization | models.TurboQuantization
)


def check_layout(layout: Layout, version: Sequence[int] | None, place: str) -> None:
    """Refuse a layout that a server of this version does not have.

    Args:
        layout: What is asked for.
        version: The server's; None for the client's local mode.
        place: The address, for messages.

    Raises:
        StoreError: The message names the oldest server that has it, and what works here.
    """
    storage = layout.storage or Storage.FULL
    if version is None:
        given = [storage.value] * (storage is not Storage.FULL) + [*layout.for_servers]
        if given:
            raise StoreInputError(
                f"the client's local mode, which {place} is, ignores {', '.join(given)}; use a "
                "folder (Qdrant Edge) for compressed vectors, and a server for all of it"
            )
    elif tuple(version) < (oldest := OLDEST[storage]):
        raise StoreError(
            f"storage={storage.value!r} needs a Qdrant server of version {_shown(oldest)} or "
            f"later, and {place} has {_shown(version)}; upgrade it, or use 'int8', which all have"
        )


def quantization_of(storage: Storage, version: Sequence[int]) -> Quantization | None:
    """Return the quantization of a storage in the client's form; None for FULL."""
    memory = models.Memory.PINNED if tuple(version) >= _MEMORY else None
    always_ram = None if memory else True
    match storage:
        case Storage.FULL:
            return None
        case Storage.INT8:
            scalar = models.ScalarQuantizationConfig(
                type=models.ScalarType.INT8,
                quantile=_QUANTILE,
                memory=memory,
                always_ram=always_ram,
            )
            return models.ScalarQuantization(scalar=scalar)
        case Storage.TURBO4 | Storage.TURBO1:
            size = models.TurboQuantBitSize
            turbo = models.TurboQuantQuantizationConfig(
                bits=size.BITS4 if storage is Storage.TURBO4 else size.BITS1,
                memory=memory,
                always_ram=always_ram,
            )
            return models.TurboQuantization(turbo=turbo)
        case Storage.BINARY:
            binary = models.BinaryQuantizationConfig(memory=memory, always_ram=always_ram)
            return models.BinaryQuantization(binary=binary)
        case _:
            assert_never(storage)


def vector_params(
    card: CollectionMetadata, layout: Layout, version: Sequence[int] | None
) -> dict[str, models.VectorParams]:
    """Return the parameters of the dense vectors and multivectors of a new collection."""
    if not card.prefix:
        found = {DENSE: _dense_params(card.dim, layout, version)}
    else:
        wanted = StoredLayout().after(layout)
        whole = _dense_params(card.dim, _as_asked(whole_part(wanted)), version)
        # No graph, not within a tenant either; what rescores is read by ids.
        whole.hnsw_config = models.HnswConfigDiff(m=0, payload_m=0)
        searched = _dense_params(card.prefix, _as_asked(prefix_part(wanted)), version)
        found = {DENSE: whole, PREFIX: searched}
    return found | _multivector_params(card)


def vector_changes(
    held: StoredLayout, asked: Layout, version: Sequence[int] | None
) -> dict[str, models.VectorParamsDiff]:
    """Return the changes of vectors' parameters that make the asked layout of the held one."""
    if not held.prefix:
        return {DENSE: _dense_change(asked, version)}
    wanted = held.after(asked)
    return {
        DENSE: _dense_change(Layout(originals=wanted.originals), version),
        PREFIX: _dense_change(_as_asked(prefix_part(wanted)), version),
    }


def _as_asked(part: StoredLayout) -> Layout:
    return Layout(storage=part.storage, originals=part.originals)


def _dense_params(size: int, layout: Layout, version: Sequence[int] | None) -> models.VectorParams:
    given = _dense_change(layout, version)
    quantization = given.quantization_config
    return models.VectorParams(
        size=size,
        distance=models.Distance.COSINE,
        quantization_config=None if quantization is models.Disabled.DISABLED else quantization,
        on_disk=given.on_disk,
        memory=given.memory,
    )


def _dense_change(layout: Layout, version: Sequence[int] | None) -> models.VectorParamsDiff:
    if version is None:
        return models.VectorParamsDiff()
    change = models.VectorParamsDiff()
    if layout.storage is not None:
        found = quantization_of(layout.storage, version)
        change.quantization_config = models.Disabled.DISABLED if found is None else found
    if layout.placed is not None:
        is_on_disk = layout.placed is Originals.DISK
        if tuple(version) >= _MEMORY:
            change.memory = models.Memory.COLD if is_on_disk else models.Memory.CACHED
        else:
            change.on_disk = is_on_disk
    return change


def strict_mode(layout: Layout) -> models.StrictModeConfig | None:
    """Return the server's strict mode for a layout; None leaves it."""
    match layout.strict:
        case None:
            return None
        case True:
            return models.StrictModeConfig(
                enabled=True, unindexed_filtering_retrieve=False, unindexed_filtering_update=False
            )
        case False:
            return models.StrictModeConfig(enabled=False)


def _shown(version: Sequence[int]) -> str:
    return ".".join(map(str, version))


def _multivector_params(card: CollectionMetadata) -> dict[str, models.VectorParams]:
    """Return the parameters of soft tokens and token vectors, as far as a collection has them."""
    found = {}
    if card.soft_tokens is not None:
        found[STATES] = _rows(card.soft_tokens, models.Datatype.FLOAT32)
    if card.token_vectors is not None:
        found[TOKENS] = _rows(card.token_vectors.dim, models.Datatype.FLOAT16)
    return found


def _rows(size: int, datatype: models.Datatype) -> models.VectorParams:
    """Return the parameters of a multivector that has no index."""
    return models.VectorParams(
        size=size,
        distance=models.Distance.DOT,  # the distance COSINE would store normalised vectors
        multivector_config=models.MultiVectorConfig(
            comparator=models.MultiVectorComparator.MAX_SIM
        ),
        # Float32 is the default, and older servers know no other word for it than none.
        datatype=None if datatype is models.Datatype.FLOAT32 else datatype,
        hnsw_config=models.HnswConfigDiff(m=0),
        on_disk=True,
    )
