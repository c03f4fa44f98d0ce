"""The settings of a collection in its engine: its layout, which can change later, and all others.

Invariant: however the engine stores vectors, the scores of a search are cosines of the original
vectors, because every search of a compressed collection rescores its candidates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TypeVar, assert_never
from unicodedata import is_normalized

from decant.embedders import StoreError
from decant.embedders.enum_fields import settle

from ..late.token_vectors import TokenVectors
from .filters import Key, path_of
from .input_errors import StoreInputError
from .words import Words

LEAST_EF = 4  # Qdrant refuses fewer candidates

_NAMES = re.compile(r'"([^"]*)"|([A-Za-z0-9_-]+)')

SHARED_TENANT = " shared"
"""What belongs to all tenants is kept under this name, which no tenant can have."""
_LONGEST_TENANT = 200  # characters, as for names of collections

T = TypeVar("T")


class Storage(StrEnum):
    """How the dense vectors that a search compares first are stored.

    FULL: float32, 4 bytes a number. All others store a compressed copy in memory in addition to the
    original vectors; a search compares the copies, takes more candidates than its limit (see
    :attr:`oversampling`), and rescores these by the original vectors. INT8: one byte a number,
    scalar quantization. TURBO4 and TURBO1: TurboQuant (arXiv 2504.19874) with 4 bits and 1 bit a
    number. BINARY: the sign of each number, 1 bit; TURBO1 finds more in the same space, so it is
    for servers before 1.18.
    """

    FULL = "full"
    INT8 = "int8"
    TURBO4 = "turbo4"
    TURBO1 = "turbo1"
    BINARY = "binary"

    @property
    def oversampling(self) -> float | None:
        """How many candidates a search rescores, as a multiple of its limit; None: it does not."""
        # experiments/log/2026-11-30-layout-presets.md
        match self:
            case Storage.FULL:
                return None
            case Storage.INT8 | Storage.TURBO4:
                return 2.0
            case Storage.TURBO1 | Storage.BINARY:
                return 8.0
            case _:
                assert_never(self)


class Originals(StrEnum):
    """Where the original vectors lie.

    MEMORY: the engine reads them into memory when it opens the collection. DISK: in files that are
    read when a search needs them; the system keeps in memory what was read, while there is room.
    """

    MEMORY = "memory"
    DISK = "disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How an engine stores and distributes a collection; None leaves a setting as it is.

    For a new collection, None is the default. Names of members are accepted: ``storage="int8"``.

    Args:
        storage: How dense vectors are stored; FULL by default.
        originals: Where the original vectors lie; by default in memory with FULL, else on disk.
        shards: Into how many parts a server cuts the collection, which is decided when it is made.
        replicas: How many nodes of a cluster store each shard, which is decided likewise.
        write_consistency: How many replicas must have stored a write before it is acknowledged.
        strict: Whether the server refuses filters on entries without a payload index (its strict
            mode).
        prefix: How many first values of each dense vector, normalised again, are stored as a vector
            of their own that a search compares first; the whole vectors, which have no index then
            and lie on disk by default, rescore its candidates. For models that were trained for it
            (Matryoshka, arXiv 2205.13147). 0: none, the default. Decided as ``shards``.
        allow_any_dim: Whether the prefix may be one that the model was not trained for.

    Raises:
        StoreError: A number is too small, or no member has such a name.
    """

    storage: Storage | None = None
    originals: Originals | None = None
    shards: int | None = None
    replicas: int | None = None
    write_consistency: int | None = None
    strict: bool | None = None
    prefix: int | None = None
    allow_any_dim: bool = False

    def __post_init__(self) -> None:
        least = {"shards": 1, "replicas": 1, "write_consistency": 1, "prefix": 0}
        kinds = {"storage": Storage, "originals": Originals}
        settle(self, kinds, tuple(least), error=StoreInputError)
        for name, smallest in least.items():
            value: int | None = getattr(self, name)
            if value is not None and value < smallest:
                raise StoreInputError(f"{name} must be at least {smallest} or None, got {value}")

    @property
    def placed(self) -> Originals | None:
        """Where the original vectors shall lie: as asked, or as it suits the storage, if asked."""
        if self.originals is not None or (self.storage is None and not self.prefix):
            return self.originals
        is_searched = self.storage is Storage.FULL and not self.prefix
        return Originals.MEMORY if is_searched else Originals.DISK

    @property
    def for_servers(self) -> tuple[str, ...]:
        """The names of given settings that only a server has."""
        given = {
            "shards": self.shards not in (None, 1),
            "replicas": self.replicas not in (None, 1),
            "write_consistency": self.write_consistency not in (None, 1),
            "strict": bool(self.strict),
        }
        return tuple(name for name, is_given in given.items() if is_given)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayout:
    """The layout that a collection has, as the engine reports it.

    Args:
        storage: How dense vectors are stored; None: compressed in a way that is none of ours.
        originals: Where the original vectors lie.
        shards: Into how many parts the collection is cut.
        replicas: How many nodes store each shard.
        write_consistency: How many replicas acknowledge a write.
        strict: Whether the server's strict mode is on.
        prefix: How many first values of a vector are searched before the whole; 0: the whole is.
    """

    storage: Storage | None = Storage.FULL
    originals: Originals = Originals.MEMORY
    shards: int = 1
    replicas: int = 1
    write_consistency: int = 1
    strict: bool = False
    prefix: int = 0

    def __str__(self) -> str:
        """Return the layout for people: storage, place of the originals, shards and replicas."""
        place = "in memory" if self.originals is Originals.MEMORY else "on disk"
        parts = [f"{self.storage or 'compressed by others'}, original vectors {place}"]
        parts += [f"searched by a prefix of {self.prefix} values"] * (self.prefix > 0)
        parts += [f"{self.shards} shards"] * (self.shards > 1)
        parts += [f"{self.replicas} replicas"] * (self.replicas > 1)
        parts += ["strict mode"] * self.strict
        return ", ".join(parts)

    @property
    def oversampling(self) -> float | None:
        """How many candidates a search rescores, as a multiple of its limit; None: it does not."""
        return (self.storage or Storage.INT8).oversampling

    def differences(self, asked: Layout) -> dict[str, str]:
        """Return the settings that are not as asked, each with both values."""
        found = {}
        for one in fields(StoredLayout):
            held, wanted = getattr(self, one.name), getattr(asked, one.name)
            if wanted is not None and wanted != held:
                there = "compressed by others" if held is None else held
                found[one.name] = f"{one.name} is {there} there, and {wanted} was asked for"
        return found

    def check_change(self, asked: Layout, where: str) -> None:
        """Refuse a change of what is decided when a collection is made.

        Raises:
            StoreInputError: The message names each such setting.
        """
        fixed = self.differences(
            Layout(shards=asked.shards, replicas=asked.replicas, prefix=asked.prefix)
        )
        if fixed:
            raise StoreInputError(
                f"the layout of {where} was not changed: {'; '.join(fixed.values())}. These are "
                "decided when a collection is made; make another with migrate() (`decant "
                "migrate`), or move shards with the server's own cluster requests"
            )

    def after(self, asked: Layout) -> StoredLayout:
        """Return the layout after a change, or of a new collection if this is the default."""
        # What rescores is not moved into memory because what is searched is not compressed.
        placed = asked.originals if self.prefix else asked.placed
        return StoredLayout(
            storage=_or(asked.storage, self.storage),
            originals=_or(placed, self.originals),
            shards=self.shards,
            replicas=self.replicas,
            write_consistency=_or(asked.write_consistency, self.write_consistency),
            strict=_or(asked.strict, self.strict),
            prefix=_or(asked.prefix, self.prefix),
        )


def _or(asked: T | None, held: T) -> T:
    return held if asked is None else asked


class FieldType(StrEnum):
    """The type of a metadata entry that gets an index."""

    KEYWORD = "keyword"
    INTEGER = "integer"
    FLOAT = "float"
    BOOL = "bool"
    DATETIME = "datetime"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadIndex:
    """A metadata entry that gets a payload index, which makes filters on it fast.

    Args:
        key: The entry's name, as in a condition.
        type: The type of its values.
    """

    key: Key
    type: FieldType = FieldType.KEYWORD

    @property
    def path(self) -> str:
        """The entry's path in the payload."""
        return path_of(self.key)

    @classmethod
    def at(cls, path: str, type: FieldType) -> PayloadIndex | None:  # noqa: A002 - as the field
        """Return the index of a path that :attr:`path` gave; None if it is none of metadata."""
        first, *names = [quoted or name for quoted, name in _NAMES.findall(path)]
        if first != "metadata" or not names:
            return None
        return cls(key=names[0] if len(names) == 1 else tuple(names), type=type)


class TenantGraphs(StrEnum):
    """Which vector indexes a collection with tenants has.

    SHARED: one graph over the passages of all tenants, which a search walks with its tenant's
    condition. OWN: one small graph for each tenant and none over all, which is built faster and
    suits many small tenants; it is Qdrant's ``m=0`` with ``payload_m``.
    """

    SHARED = "shared"
    OWN = "own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """A collection whose passages belong to tenants, each of which sees and changes only its own.

    Args:
        graphs: Which vector indexes there are.
        dedicated: Names of tenants that get a shard of their own; all others share one. For
            clusters of servers alone (custom sharding); an administrator can give further tenants
            a shard later. None: the server distributes passages as usual.

    Raises:
        StoreError: No member has such a name, or a tenant cannot have such a name.
    """

    graphs: TenantGraphs = TenantGraphs.SHARED
    dedicated: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        settle(self, {"graphs": TenantGraphs}, (), error=StoreInputError)
        if isinstance(self.dedicated, str):
            raise StoreInputError(f"dedicated takes a list of names; write [{self.dedicated!r}]")
        if self.dedicated is not None:
            names = tuple(check_tenant(name) for name in self.dedicated)
            object.__setattr__(self, "dedicated", names)

    def __str__(self) -> str:
        """Return the settings for people."""
        parts = ["a vector index each" if self.graphs is TenantGraphs.OWN else "one vector index"]
        parts += ["dedicated shards"] * (self.dedicated is not None)
        return ", ".join(parts)


def check_tenant(name: object) -> str:
    """Return the name of a tenant, if it can be one.

    Raises:
        StoreInputError: It is no string, is empty or too long, or two equal-looking names could
            differ: white space around it, characters that are not printed, or a Unicode form other
            than NFC.
    """
    if not isinstance(name, str):
        raise StoreInputError(f"the name of a tenant is a string, got a {type(name).__name__}")
    is_plain = name.isprintable() and name == name.strip() and is_normalized("NFC", name)
    if not 1 <= len(name) <= _LONGEST_TENANT or not is_plain:
        raise StoreInputError(
            f"{name!a} cannot name a tenant; use 1 to {_LONGEST_TENANT} printable characters in "
            "Unicode's form NFC, with no white space around them"
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSettings(Layout):
    """The settings of a new collection: its :class:`Layout`, and what never changes.

    Args:
        storage: See :class:`Layout`, as for the seven that follow.
        originals: Where the original vectors lie.
        shards: Into how many parts a server cuts the collection.
        replicas: How many nodes of a cluster store each shard.
        write_consistency: How many replicas must have stored a write.
        strict: Whether the server refuses filters on entries without a payload index.
        prefix: How many first values of a vector are a vector of their own.
        allow_any_dim: Whether the prefix may be one that the model was not trained for.
        indexed: Metadata entries to index, in addition to our own fields.
        hnsw_m: Links per node of the vector index (Malkov and Yashunin, arXiv 1603.09320).
        hnsw_ef_construct: Candidates examined while it is built.
        soft_tokens: Whether to store soft tokens with each vector, so that a language model can
            decode it (:meth:`Collection.soft_tokens`); for encoders whose recipe appends tokens.
        words: How to index the words of texts, so that passages are found by BM25, too, whatever
            the encoder is; None: by vectors alone.
        tenants: That passages belong to tenants (:meth:`Collection.tenant`); None: to nobody.
        token_vectors: That a vector of each token is kept, by which the best hits can be ordered
            anew (:class:`Late`); for encoders whose recipe has late interaction. None: none is.
    """

    indexed: tuple[PayloadIndex, ...] = ()
    hnsw_m: int = 16
    hnsw_ef_construct: int = 100
    soft_tokens: bool = False
    words: Words | None = None
    tenants: Tenants | None = None
    token_vectors: TokenVectors | None = None

    def __post_init__(self) -> None:
        Layout.__post_init__(self)  # a class with slots has no super() without arguments
        if self.hnsw_m < 0 or self.hnsw_ef_construct < LEAST_EF:
            raise StoreError(
                f"hnsw_m must be at least 0 and hnsw_ef_construct at least {LEAST_EF}, got "
                f"{self.hnsw_m} and {self.hnsw_ef_construct}"
            )
        if not isinstance(self.tenants, Tenants | None):
            raise StoreInputError(f"tenants is a Tenants(), got {self.tenants!r}")
        if not isinstance(self.token_vectors, TokenVectors | None):
            raise StoreInputError(f"token_vectors is TokenVectors(), got {self.token_vectors!r}")

    @property
    def graph_links(self) -> tuple[int, int | None]:
        """The links per node of the graph over all points, and of those within one tenant."""
        if self.tenants is None or self.tenants.graphs is TenantGraphs.SHARED:
            return self.hnsw_m, None
        return 0, self.hnsw_m

    @property
    def layout(self) -> Layout:
        """The layout alone."""
        return Layout(**{one.name: getattr(self, one.name) for one in fields(Layout)})


def check_only_layout(layout: Layout) -> None:
    """Refuse settings that are more than a layout, because nothing else of a collection changes.

    Raises:
        StoreInputError: There are such settings.
    """
    if isinstance(layout, CollectionSettings):
        kept = {one.name for one in fields(Layout)}
        default = CollectionSettings()
        others = {one.name for one in fields(layout)} - kept
        if any(getattr(layout, name) != getattr(default, name) for name in others):
            raise StoreInputError(
                "only the layout of a collection can be changed; give a Layout, and index metadata "
                "entries with Collection.add_index"
            )
