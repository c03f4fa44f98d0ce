"""Find the layout of a collection by a few of its payloads.

The layouts of known programs are tried one after the other; where none fits, the one field whose
values are long strings is the text. A user who names fields is followed, and only checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import NoneType

from decant.embedders import StoreError
from decant.embedders.json_records import Json

from .llama_index_nodes import is_node
from .payload_layout import LayoutKind, PayloadLayout

_KNOWN = (
    PayloadLayout(),  # langchain-qdrant
    PayloadLayout(text="document"),  # mcp-server-qdrant
    PayloadLayout(kind=LayoutKind.HAYSTACK, text="content", metadata="meta"),
    PayloadLayout(text="text"),
    PayloadLayout(text="content"),
)
_LLAMA_INDEX = PayloadLayout(kind=LayoutKind.LLAMA_INDEX, text="text", metadata="")
_MOST_SHOWN = 8


def find_layout(
    payloads: Sequence[Mapping[str, Json]],
    *,
    text: str | None = None,
    metadata: str | None = None,
) -> PayloadLayout:
    """Return the layout of the points with these payloads, still without the vector's name.

    Args:
        payloads: Those of some points.
        text: The field with the text; None: it is found.
        metadata: The field with the metadata, "" for the other fields of the payload; None: it is
            found.

    Raises:
        StoreError: No layout fits, or no point has the field that ``text`` names; the message lists
            the fields that there are.
    """
    if text is None and sum(map(is_node, payloads)) * 2 > len(payloads):
        return _LLAMA_INDEX
    if text is None:
        found = max(_KNOWN, key=lambda layout: _fit(layout, payloads))
        if not _fit(found, payloads)[0]:
            raise _unknown("no field of its points is known as that of the text", payloads)
    elif not any(isinstance(payload.get(text), str) for payload in payloads):
        raise _unknown(f"no point of those read has a text in {text!r}", payloads)
    else:
        named = [one for one in _KNOWN if one.text == text] or [PayloadLayout(text=text)]
        found = max(named, key=lambda layout: _fit(layout, payloads))
    if metadata is not None:
        return replace(found, metadata=metadata)
    if _fit(found, payloads)[1]:
        return found
    # No metadata in one field, so they are the other fields; without any, the usual name.
    others = any(set(payload) - {found.text} for payload in payloads)
    return PayloadLayout(text=found.text, metadata="" if others else "metadata")


def _fit(layout: PayloadLayout, payloads: Sequence[Mapping[str, Json]]) -> tuple[int, int, int]:
    """Return in how many payloads the text lies, and those with its metadata and its id."""
    with_text = [one for one in payloads if isinstance(one.get(layout.text), str)]
    with_metadata = sum(
        layout.metadata in one and isinstance(one[layout.metadata], dict | NoneType)
        for one in with_text
    )
    is_haystack = layout.kind is LayoutKind.HAYSTACK
    with_id = sum(isinstance(one.get("id"), str) for one in with_text) if is_haystack else 0
    return len(with_text), with_metadata, with_id


def _unknown(why: str, payloads: Sequence[Mapping[str, Json]]) -> StoreError:
    fields = Counter(key for payload in payloads for key in payload)
    shown = ", ".join(key for key, _ in fields.most_common(_MOST_SHOWN)) or "none at all"
    return StoreError(
        f"where the texts of this collection lie is not known: {why}. Its points have the fields "
        f"{shown}; name the one with the text (text=…, --text) and, if there is one, the one with "
        "the metadata (metadata=…, --metadata)"
    )
