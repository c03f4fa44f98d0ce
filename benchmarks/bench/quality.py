"""What an encoder is worth on a task with human judgements: STS and retrieval."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import ndcg_score

from decant.embedders import Encoder, Role


def sts_spearman(encoder: Encoder, file: Path) -> float:
    """Return 100 x Spearman's correlation of cosines with human scores.

    Args:
        encoder: Gives unit vectors.
        file: Lines of score, sentence, sentence, with tabs between.
    """
    rows = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]
    first, second = (
        encoder.encode([row[column] for row in rows], role=Role.QUERY).dense for column in (1, 2)
    )
    # Spearman's correlation is Pearson's of the ranks, ties averaged.
    ranks = [
        rankdata(values)
        for values in ((first * second).sum(axis=1), [float(row[0]) for row in rows])
    ]
    return 100 * float(np.corrcoef(*ranks)[0, 1])


def retrieval_ndcg(encoder: Encoder, folder: Path) -> float:
    """Return 100 x nDCG@10, linear gains (Järvelin and Kekäläinen 2002), over judged queries.

    Args:
        encoder: Gives unit vectors.
        folder: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels.tsv``, as BEIR has them.
    """
    texts = [row for row in _rows(folder / "corpus.jsonl") if row["text"]]
    queries = _rows(folder / "queries.jsonl")
    gains = _gains(folder / "qrels.tsv", queries, texts)
    judged = gains.sum(axis=1) > 0
    asked = [row["text"] for row, keep in zip(queries, judged, strict=True) if keep]
    scores = (
        encoder.encode(asked, role=Role.QUERY).dense
        @ encoder.encode([row["text"] for row in texts], role=Role.PASSAGE).dense.T
    )
    return 100 * float(ndcg_score(gains[judged], scores, k=10))


def _rows(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _gains(
    file: Path, queries: list[dict[str, str]], texts: list[dict[str, str]]
) -> NDArray[np.float64]:
    """Return judged gains, shape (queries, texts)."""
    line_of = {row["_id"]: number for number, row in enumerate(queries)}
    column_of = {row["_id"]: number for number, row in enumerate(texts)}
    gains = np.zeros((len(queries), len(texts)))
    for line in file.read_text(encoding="utf-8").splitlines():
        query, text, score = line.split("\t")
        if query in line_of and text in column_of:
            gains[line_of[query], column_of[text]] = max(float(score), 0)
    return gains
