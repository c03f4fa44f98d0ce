"""Losses: pure functions of vectors, computed in float32.

Vectors are rows; cosines do not depend on their length. Every function returns a scalar, the mean
over the batch. Letters: B queries, P passages, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

_EXCLUDED = float("-inf")


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosine of each row of (B, D) with each row of (P, D), shape (B, P)."""
    return (
        functional.normalize(first.float(), dim=-1)
        @ functional.normalize(second.float(), dim=-1).mT
    )


def info_nce(
    queries: Tensor, passages: Tensor, *, temperature: float, excluded: Tensor | None = None
) -> Tensor:
    """Return InfoNCE with in-batch and hard negatives (van den Oord et al., arXiv 1807.03748).

    ``-log(exp(s_ii) / sum_p exp(s_ip))`` with ``s = cos / temperature``.

    Args:
        queries: (B, D).
        passages: (P, D), P >= B: first the positive of each query, in order, then all negatives.
        temperature: Cosines are divided by it.
        excluded: bool (B, P): pairs that are not negatives; a query's own positive always counts.
    """
    scores = cosines(queries, passages) / temperature
    return functional.cross_entropy(_without(scores, excluded), _own(scores))


def margin_loss(vectors: Tensor, others: Tensor, *, distance: float, excluded: Tensor) -> Tensor:
    """Return a margin loss that keeps vectors apart: LLM2Vec-Gen's (arXiv 2603.10913, its code).

    ``mean max(0, distance**2 - |v_i - o_j|**2)`` over the pairs that are not excluded; 0 if all
    are.

    Args:
        vectors: (B, D).
        others: (P, D).
        distance: The least Euclidean distance that is not penalised.
        excluded: bool (B, P): pairs that do not count.
    """
    squared = (vectors[:, None] - others[None]).square().sum(-1)  # (B, P)
    missing = functional.relu(distance**2 - squared).masked_fill(excluded, 0.0)
    return missing.sum() / (~excluded).sum().clamp_min(1)


def improved_info_nce(
    queries: Tensor,
    passages: Tensor,
    *,
    temperature: float,
    margin: float = 0.1,
    excluded: Tensor | None = None,
) -> Tensor:
    """Return the loss of Qwen3-Embedding (arXiv 2506.05176, section 3).

    The denominator of :func:`info_nce` gets further terms, ``exp`` of query with query and of
    passage with passage. A term whose cosine exceeds that of query and positive by more than
    ``margin`` is taken for a false negative and left out.

    Args:
        queries: (B, D).
        passages: (P, D), first the positives, as in :func:`info_nce`.
        temperature: Cosines are divided by it.
        margin: The margin of the mask, as a cosine.
        excluded: bool (B, P): as in :func:`info_nce`; passages that equal a positive are left out
            of its passage terms, too.
    """
    count = len(queries)
    own = _own(queries)
    across = cosines(queries, passages)  # (B, P)
    among = cosines(queries, queries)  # (B, B)
    between_passages = cosines(passages[:count], passages[:count])  # (B, B)
    highest = across.diagonal()[:, None].detach() + margin
    itself = torch.eye(count, dtype=torch.bool, device=queries.device)
    equal = torch.zeros_like(across, dtype=torch.bool) if excluded is None else excluded
    terms = torch.cat(
        [
            _without(across / temperature, equal | (across.detach() > highest)),
            (among / temperature).masked_fill(itself | (among.detach() > highest), _EXCLUDED),
            (between_passages / temperature).masked_fill(
                itself | (between_passages.detach() > highest) | equal[:, :count], _EXCLUDED
            ),
        ],
        dim=1,
    )
    return functional.cross_entropy(terms, own)


def cosent(pair_cosines: Tensor, scores: Tensor, *, temperature: float = 0.05) -> Tensor:
    """Return CoSENT, which orders pairs as their scores (Su 2022, kexue.fm/archives/8847).

    ``log(1 + sum over pairs i, j with score_i < score_j of exp((cos_i - cos_j) / temperature))``.

    Args:
        pair_cosines: (B,).
        scores: (B,), on any scale; pairs of equal score are not compared.
        temperature: Cosines are divided by it.
    """
    differences = (pair_cosines[:, None] - pair_cosines[None, :]).float() / temperature
    wrong = differences.masked_fill(scores[:, None] >= scores[None, :], _EXCLUDED)
    return torch.logsumexp(torch.cat([wrong.new_zeros(1), wrong.flatten()]), dim=0)


def vector_distance(students: Tensor, teachers: Tensor) -> Tensor:
    """Return the mean squared difference of unit vectors, (B, D) both: ``2 (1 - cos) / D``."""
    unit = functional.normalize(students.float(), dim=-1)
    return functional.mse_loss(unit, functional.normalize(teachers.float(), dim=-1))


def score_divergence(students: Tensor, teachers: Tensor, *, temperature: float) -> Tensor:
    """Return ``KL(softmax(teachers / t) || softmax(students / t))`` over rows of scores, (B, G)."""
    wanted = functional.log_softmax(teachers.float() / temperature, dim=-1)
    given = functional.log_softmax(students.float() / temperature, dim=-1)
    return functional.kl_div(given, wanted, reduction="batchmean", log_target=True)


def flops(weights: Tensor) -> Tensor:
    """Return the FLOPS regulariser ``sum_v (mean_b |w_bv|)^2`` (Paria et al., arXiv 2004.05665).

    Args:
        weights: (B, V), the output of a sparse head.
    """
    return weights.float().abs().mean(0).square().sum()


def spread_out(vectors: Tensor) -> Tensor:
    """Return the spread-out regulariser: the mean squared cosine (Zhang et al., arXiv 1708.06320).

    This is the second moment only, as in jina-embeddings-v5 (arXiv 2602.15547); the mean of the
    cosines, the paper's other term, is left out.

    Args:
        vectors: (B, D), vectors of texts that do not belong together; one text gives zero.
    """
    count = len(vectors)
    if count < 2:
        return vectors.float().sum() * 0
    among = cosines(vectors, vectors)
    others = among.square().sum() - among.diagonal().square().sum()
    return others / (count * (count - 1))


def matryoshka(
    loss: Callable[[Tensor, Tensor], Tensor],
    queries: Tensor,
    passages: Tensor,
    *,
    dims: Sequence[int],
) -> Tensor:
    """Return the sum of a loss over vectors cut to each width (Kusupati et al., arXiv 2205.13147).

    Args:
        loss: A loss of queries and passages that does not depend on the length of vectors.
        queries: (B, D).
        passages: (P, D).
        dims: Widths, each at most D.
    """
    return torch.stack([loss(queries[:, :width], passages[:, :width]) for width in dims]).sum()


def _own(rows: Tensor) -> Tensor:
    return torch.arange(len(rows), device=rows.device)


def _without(scores: Tensor, excluded: Tensor | None) -> Tensor:
    """Mask excluded pairs of scores, (B, P), except for the diagonal."""
    if excluded is None:
        return scores
    own = torch.zeros_like(excluded)
    own.fill_diagonal_(fill_value=True)
    return scores.masked_fill(excluded & ~own, _EXCLUDED)
