"""What it costs when queries and passages of one collection come from graphs of two precisions.

Every combination is scored on the same queries, exactly and without an index, and compared with
fp32 on both sides query by query. "Half" takes every other passage from each graph.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from decant.embedders import Encoder, Role, Vectors, load
from decant.evaluation import Retrieval, compare, read_beir

_FIRST = 10
"""How many hits a user looks at, for the share of them that stays."""


class Mixed:
    """Takes queries from one encoder, and passages from several in turn.

    Args:
        queries: Embeds queries.
        passages: The n-th different passage is embedded by the n-th of them, over and over.
        memory: Vectors by encoder, role and text, so that each is computed once.
    """

    def __init__(
        self,
        queries: Encoder,
        passages: Sequence[Encoder],
        memory: dict[tuple[int, Role, str], np.ndarray],
    ) -> None:
        self._queries = queries
        self._passages = passages
        self._memory = memory

    def encode(self, texts: Iterable[str], *, role: Role) -> Vectors:
        """Return one vector per text, in the order given."""
        asked = list(texts)
        turns = [self._queries] if role is Role.QUERY else self._passages
        chosen = {
            text: turns[number % len(turns)] for number, text in enumerate(dict.fromkeys(asked))
        }
        for encoder in {id(encoder): encoder for encoder in turns}.values():
            self._embed(encoder, [t for t, one in chosen.items() if one is encoder], role)
        rows = [self._memory[id(chosen[text]), role, text] for text in asked]
        return Vectors(dense=np.stack(rows))

    def _embed(self, encoder: Encoder, texts: list[str], role: Role) -> None:
        new = [text for text in texts if (id(encoder), role, text) not in self._memory]
        for text, row in zip(new, encoder.encode(new, role=role).dense, strict=True):
            self._memory[id(encoder), role, text] = row


def main() -> None:
    """Score every combination and print a table."""
    options = _parse()
    data = read_beir(options.data)
    task = Retrieval(data=data)
    with (
        load(options.bundle, provider="cpu", precision="fp32") as fp32,
        load(options.bundle, provider="cpu", precision=options.precision) as other,
    ):
        name, half = options.precision, [fp32, other]
        memory: dict[tuple[int, Role, str], np.ndarray] = {}
        systems = {
            "fp32 asks fp32": Mixed(fp32, [fp32], memory),
            f"{name} asks {name}": Mixed(other, [other], memory),
            f"{name} asks fp32": Mixed(other, [fp32], memory),
            f"fp32 asks {name}": Mixed(fp32, [other], memory),
            "fp32 asks half and half": Mixed(fp32, half, memory),
            f"{name} asks half and half": Mixed(other, half, memory),
        }
        scores = {key: task.score(system)[0] for key, system in systems.items()}
        first = {
            key: _first_hits(system, data.queries, data.documents)
            for key, system in systems.items()
        }
    base = next(iter(systems))
    for key, measured in scores.items():
        score = measured.score
        delta = compare(scores[base], measured).difference
        kept = np.mean([len(a & b) / _FIRST for a, b in zip(first[base], first[key], strict=True)])
        interval = f"[{100 * delta.low:+.2f}, {100 * delta.high:+.2f}] p {delta.p_value:.2f}"
        print(
            f"{key:<26} {score.metric} {100 * score.value:.2f}  {100 * delta.value:+.2f} "
            f"{interval}  first {_FIRST} kept {kept:.1%}"
        )


def _first_hits(
    system: Mixed, queries: Mapping[str, str], documents: Mapping[str, str]
) -> list[set[int]]:
    texts = [text for text in documents.values() if text.strip()]
    passages = system.encode(texts, role=Role.PASSAGE).dense  # (N, D)
    asked = system.encode(list(queries.values()), role=Role.QUERY).dense  # (Q, D)
    return [set(row) for row in np.argsort(-(asked @ passages.T), axis=1)[:, :_FIRST].tolist()]


def _parse() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("bundle", type=Path, help="a bundle with fp32 and the other precision")
    made.add_argument("data", type=Path, help="a retrieval set in BEIR's layout")
    made.add_argument("--precision", default="int8", help="the other precision (%(default)s)")
    return made.parse_args()


if __name__ == "__main__":
    main()
