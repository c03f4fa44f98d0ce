"""What a graph's time is counted as, and that a single query is timed both ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import operators
import query
from bench.bare import Kernel, kernels
from bench.corpus import Cutter, load_corpus, some_queries
from decant.embedders import HashEncoder, ParityError, Role
from decant.export import export
from operators import Part


def kernel(operator: str, *ranks: int, microseconds: float = 1) -> Kernel:
    """Return a kernel by what the parts look at."""
    return Kernel(operator=operator, ranks=ranks, microseconds=microseconds)


@pytest.mark.parametrize(
    ("found", "part"),
    [
        (kernel("MatMul", 3, 2), Part.PRODUCTS),
        (kernel("MatMulIntegerToFloat", 2, 2, 2, 1), Part.PRODUCTS),
        (kernel("MatMul", 4, 4), Part.ATTENTION),
        (kernel("FusedMatMul", 4, 4), Part.ATTENTION),
        (kernel("MultiHeadAttention", 3, 3, 3), Part.ATTENTION),
        (kernel("Softmax", 4), Part.ATTENTION),
        (kernel("LayerNormalization", 3, 1, 1), Part.OUTSIDE),
        (kernel("Mul", 4, 4), Part.OUTSIDE),
    ],
)
def test_products_of_states_are_attention_and_products_with_weights_are_not(
    found: Kernel, part: Part
) -> None:
    assert operators.part(found) is part


def test_the_shares_of_a_graph_add_up() -> None:
    found = [
        kernel("MatMul", 3, 2, microseconds=60),
        kernel("Softmax", 4, microseconds=10),
        kernel("Add", 3, 3, microseconds=20),
        kernel("Gelu", 3, microseconds=10),
    ]
    figures = {figure.name: figure.value for figure in operators.shares("bert fp32", found)}
    assert figures == {
        "bert fp32, matrix products": 60,
        "bert fp32, attention": 10,
        "bert fp32, outside both": 30,
        "bert fp32, of these Add": 20,
    }


def test_a_profile_counts_every_run_but_the_first(tiny_model: Path, tmp_path: Path) -> None:
    export(tiny_model, tmp_path / "bundle")
    feeds = {name: np.ones((2, 5), np.int64) for name in ("input_ids", "attention_mask")}
    graph = tmp_path / "bundle" / "onnx" / "model.onnx"
    one, three = (kernels(graph, feeds, runs=runs, work=tmp_path) for runs in (1, 3))
    assert len(three) == 3 * len(one) > 0
    assert sum(item.microseconds for item in three) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_width_that_heads_do_not_divide_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        operators.parse(["--width", "100"])
    assert "a multiple of 12, got 100" in capsys.readouterr().err


def test_a_query_is_timed_both_ways_in_every_round(tiny_data: Path) -> None:
    encoder = HashEncoder()
    queries = some_queries(load_corpus(tiny_data), Cutter(encoder.tokenizer), 6, seed=0)
    assert len(set(queries)) == 6
    ours = query.by_encoder(encoder)
    times = query.take_turns(ours, ours, queries, rounds=2, on_step=str)
    assert len(times.encode) == len(times.bare) == 12
    assert min(times.encode) > 0


def test_other_vectors_than_the_bare_graphs_stop_the_comparison() -> None:
    encoder = HashEncoder()
    ours = query.by_encoder(encoder)
    query.agree(ours, ours, ["ferry", "dusk"])
    with pytest.raises(ParityError, match="different vectors"):
        query.agree(
            ours, lambda text: encoder.encode([text[::-1]], role=Role.QUERY).dense[0], ["ferry"]
        )
