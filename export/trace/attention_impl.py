"""Switch a model's attention implementation for a while, through Transformers' own registry."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from decant.embedders.pytorch import PooledModel

Attend = Callable[..., tuple[Tensor, None]]
"""Transformers' attention function: module, query, key, value, mask, and keywords."""


@contextlib.contextmanager
def attending(model: PooledModel, name: str, attend: Attend | None = None) -> Iterator[None]:
    """Switch a model's attention implementation, and switch it back at the end.

    Args:
        model: The model; its backbone's configuration changes meanwhile.
        name: The implementation; ``eager`` is plain operators.
        attend: The function to register under this name; it gets the padding mask, int64 (B, T), in
            place of a mask of scores. None if the name is registered already.
    """
    if attend is not None:
        AttentionInterface.register(name, attend)
        AttentionMaskInterface.register(name, _padding_mask)
    before = model.backbone.config._attn_implementation  # noqa: SLF001 - there is no public getter
    assert before is not None
    model.backbone.set_attn_implementation(name)
    try:
        yield
    finally:
        model.backbone.set_attn_implementation(before)


def _padding_mask(*_: object, attention_mask: Tensor | None = None, **__: object) -> Tensor:
    """Pass the padding mask, (B, T), on to the attention."""
    assert attention_mask is not None
    return attention_mask
