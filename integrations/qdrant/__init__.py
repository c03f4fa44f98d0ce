"""Collections of texts in Qdrant, in this process or on a server, each tied to one recipe.

Everything public is here by name; each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .card import Card as Card
    from .catalog import CollectionSummary as CollectionSummary
    from .catalog import Holdings as Holdings
    from .catalog import RootHoldings as RootHoldings
    from .catalog import Selection as Selection
    from .catalog import count_selected as count_selected
    from .catalog import delete_selected as delete_selected
    from .catalog import summarize as summarize
    from .checking import CheckReport as CheckReport
    from .checking import check_collection as check_collection
    from .chunking import Chunking as Chunking
    from .collection import Collection as Collection
    from .conditions import All as All
    from .conditions import AnyOf as AnyOf
    from .conditions import Condition as Condition
    from .conditions import Either as Either
    from .conditions import Equals as Equals
    from .conditions import Exists as Exists
    from .conditions import Field as Field
    from .conditions import FieldIn as FieldIn
    from .conditions import Not as Not
    from .conditions import Range as Range
    from .connecting import connect as connect
    from .documents import Document as Document
    from .documents import Documents as Documents
    from .documents import read_documents as read_documents
    from .edge import EdgeStore as EdgeStore
    from .filling import Filling as Filling
    from .filling import read_fillings as read_fillings
    from .flaws import Finding as Finding
    from .flaws import Flaw as Flaw
    from .info import CollectionInfo as CollectionInfo
    from .input_errors import StoreInputError as StoreInputError
    from .passages import Hit as Hit
    from .passages import Passage as Passage
    from .passages import Record as Record
    from .queries import Fused as Fused
    from .queries import SearchMode as SearchMode
    from .remote import RemoteStore as RemoteStore
    from .report import IndexReport as IndexReport
    from .settings import CollectionSettings as CollectionSettings
    from .settings import FieldType as FieldType
    from .settings import Indexed as Indexed
    from .sparse import SparseVector as SparseVector
    from .store import Engine as Engine
    from .store import Fetch as Fetch
    from .store import Page as Page
    from .store import Point as Point
    from .store import Scored as Scored
    from .store import Store as Store
    from .threads import run_in_thread as run_in_thread
    from .walking import Skipped as Skipped
    from .walking import SkipReason as SkipReason
    from .walking import Unreadable as Unreadable

_HOME = {
    "All": "conditions",
    "AnyOf": "conditions",
    "Card": "card",
    "CheckReport": "checking",
    "Chunking": "chunking",
    "Collection": "collection",
    "CollectionInfo": "info",
    "CollectionSettings": "settings",
    "CollectionSummary": "catalog",
    "Condition": "conditions",
    "Document": "documents",
    "Documents": "documents",
    "EdgeStore": "edge",
    "Either": "conditions",
    "Engine": "store",
    "Equals": "conditions",
    "Exists": "conditions",
    "Fetch": "store",
    "Field": "conditions",
    "FieldIn": "conditions",
    "FieldType": "settings",
    "Filling": "filling",
    "Finding": "flaws",
    "Flaw": "flaws",
    "Fused": "queries",
    "Hit": "passages",
    "Holdings": "catalog",
    "IndexReport": "report",
    "Indexed": "settings",
    "Not": "conditions",
    "Page": "store",
    "Passage": "passages",
    "Point": "store",
    "Range": "conditions",
    "Record": "passages",
    "RemoteStore": "remote",
    "RootHoldings": "catalog",
    "Scored": "store",
    "SearchMode": "queries",
    "Selection": "catalog",
    "SkipReason": "walking",
    "Skipped": "walking",
    "SparseVector": "sparse",
    "Store": "store",
    "StoreInputError": "input_errors",
    "Unreadable": "walking",
    "check_collection": "checking",
    "connect": "connecting",
    "count_selected": "catalog",
    "delete_selected": "catalog",
    "read_documents": "documents",
    "read_fillings": "filling",
    "run_in_thread": "threads",
    "summarize": "catalog",
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
