"""Attention without padding in Transformers: rows one after the other, and where each begins.

Transformers passes ``cu_seq_lens_q`` and similar arguments to any registered attention; ours here
need nothing else. Invariant: no row sees another one.
"""

from __future__ import annotations

import importlib.util
import inspect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from decant.embedders import ParityError, ProviderError
from decant.embedders.tokens import Tokens

_LEAST_COSINE = 0.999


class Way(StrEnum):
    """How a model in PyTorch attends.

    SDPA: padded batches. EAGER: the same in plain operators. FLASH: packed, FlashAttention-2 of the
    flash-attn package. VARLEN: packed, the FlashAttention-2 within PyTorch (``varlen_attn``, CUDA
    only). ROWS: packed, SDPA row by row: for devices without the other two.
    """

    SDPA = "sdpa"
    EAGER = "eager"
    FLASH = "flash"
    VARLEN = "varlen"
    ROWS = "rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Rows one after the other.

    Args:
        ids: int64, shape (1, N).
        positions: int64, shape (1, N); each row begins at 0.
        bounds: int32, shape (B + 1,): where rows begin, and the end.
        longest: Tokens of the longest row.
    """

    ids: Tensor
    positions: Tensor
    bounds: Tensor
    longest: int

    @classmethod
    def of(cls, rows: Sequence[Tokens], device: torch.device) -> Packed:
        """Pack rows and put them on a device."""
        lengths = [len(row.ids) for row in rows]
        ids = np.concatenate([np.array(row.ids, np.int64) for row in rows])
        positions = np.concatenate([np.arange(length, dtype=np.int64) for length in lengths])
        bounds = np.cumsum([0, *lengths], dtype=np.int32)
        return cls(
            ids=torch.from_numpy(ids)[None].to(device),
            positions=torch.from_numpy(positions)[None].to(device),
            bounds=torch.from_numpy(bounds).to(device),
            longest=max(lengths),
        )


def available(way: Way, device: torch.device) -> bool:
    """Tell whether a way can run here."""
    match way:
        case Way.SDPA | Way.EAGER | Way.ROWS:
            return True
        case Way.FLASH:
            return device.type == "cuda" and importlib.util.find_spec("flash_attn") is not None
        case Way.VARLEN:
            varlen = importlib.util.find_spec("torch.nn.attention.varlen")
            return device.type == "cuda" and varlen is not None
        case _:
            assert_never(way)


def usable(asked: Sequence[Way] | None, device: torch.device) -> tuple[Way, ...]:
    """Return the ways that are measured; None takes SDPA and every packed one that runs here.

    SDPA row by row only stands in where no kernel packs, and eager attention is for who asks.

    Raises:
        ProviderError: A way that was asked for cannot run here.
    """
    if asked is None:
        there = [way for way in Way if way not in (Way.EAGER, Way.ROWS) and available(way, device)]
        return tuple(there) if len(there) > 1 else (Way.SDPA, Way.ROWS)
    for way in asked:
        if not available(way, device):
            raise ProviderError(
                f"{way} attention does not run on {device.type} with what is installed; leave it "
                "out of --peers"
            )
    return tuple(asked)


def takes(way: Way, dtype: str) -> bool:
    """Tell whether a way runs in a type of torch's: FlashAttention-2 knows half precision only."""
    return way in (Way.SDPA, Way.EAGER, Way.ROWS) or dtype != "float32"


def check(way: Way, device: torch.device) -> None:
    """See on a few numbers that packed attention is right here, before minutes go into models.

    Raises:
        ParityError: ``varlen_attn`` gives other values than SDPA row by row.
    """
    if way is not Way.VARLEN:
        return
    bounds = torch.tensor([0, 3, 4, 64], dtype=torch.int32, device=device)
    drawing = torch.Generator(device).manual_seed(0)
    shapes = ((1, 8, 64, 64), (1, 2, 64, 64), (1, 2, 64, 64))  # two keys for eight queries
    states = [
        torch.randn(shape, generator=drawing, device=device).to(torch.bfloat16) for shape in shapes
    ]
    query, key, value = states
    for causal in (False, True):
        module = _Attending(is_causal=causal)
        found, expected = (
            attend(
                module, query, key, value, None, scaling=0.125, cu_seq_lens_q=bounds,
                max_length_q=60,
            )[0]
            for attend in (_varlen, _rows)
        )  # fmt: skip
        cosines = nn.functional.cosine_similarity(found.float(), expected.float(), dim=-1)
        if not (worst := float(cosines.min())) >= _LEAST_COSINE:
            raise ParityError(
                f"torch {torch.__version__} attends otherwise in varlen_attn than in SDPA (worst "
                f"cosine {worst:.4f}, causal={causal}); leave it out of --peers"
            )


class _Attending(nn.Module):
    """What an attention function reads of its module."""

    def __init__(self, *, is_causal: bool) -> None:
        super().__init__()
        self.is_causal = is_causal


def implementation(way: Way) -> str:
    """Return Transformers' name of a way; ours are registered there."""
    match way:
        case Way.SDPA:
            return "sdpa"
        case Way.EAGER:
            return "eager"
        case Way.FLASH:
            return "flash_attention_2"
        case Way.VARLEN:
            return _registered("packed_varlen", _varlen)
        case Way.ROWS:
            return _registered("packed_rows", _rows)
        case _:
            assert_never(way)


def _registered(name: str, attend: Callable[..., tuple[Tensor, None]]) -> str:
    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, lambda *_, **__: None)
    return name


def _varlen(  # noqa: PLR0913 - Transformers calls it
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Tensor | None,
    *,
    scaling: float,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    **_: object,
) -> tuple[Tensor, None]:
    """Attend within rows: states of shape (1, heads, N, width) to (1, N, heads, width)."""
    from torch.nn.attention.varlen import varlen_attn

    flat = [part[0].transpose(0, 1) for part in (query, key, value)]  # (N, heads, width)
    known = inspect.signature(varlen_attn).parameters
    groups = query.shape[1] // key.shape[1]
    options: dict[str, object] = {"scale": scaling} if "scale" in known else {}
    if "enable_gqa" in known:
        options["enable_gqa"] = groups > 1
    else:  # as of torch 2.10 it takes as many keys as queries
        flat[1:] = [part.repeat_interleave(groups, 1) for part in flat[1:]]
    if module.is_causal:
        options |= {"window_size": (-1, 0)} if "window_size" in known else {"is_causal": True}
    bounds = (cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q)
    states: Tensor = cast("Callable[..., Tensor]", varlen_attn)(*flat, *bounds, **options)
    return states[None], None


def _rows(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Tensor | None,
    *,
    scaling: float,
    cu_seq_lens_q: Tensor,
    **_: object,
) -> tuple[Tensor, None]:
    """Attend row by row; shapes as in :func:`_varlen`."""
    bounds = cu_seq_lens_q.tolist()
    parts = [
        nn.functional.scaled_dot_product_attention(
            query[:, :, begin:end],
            key[:, :, begin:end],
            value[:, :, begin:end],
            is_causal=bool(module.is_causal),
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        for begin, end in itertools.pairwise(bounds)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None
