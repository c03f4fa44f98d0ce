"""The account of `encode`'s time adds up, and no node is counted twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decant.embedders.onnx import CPU, NodeRun
from where_the_time_goes import (
    ACTIVATIONS,
    ATTENTION,
    OTHERS,
    PRODUCTS,
    Times,
    account,
    parse,
    shares_of,
)


def run(operator: str, microseconds: int, *shape: int) -> NodeRun:
    return NodeRun(
        operator=operator,
        provider=CPU,
        microseconds=microseconds,
        inputs=(shape,),
        outputs=(shape,),
    )


@given(
    st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0, 0.9), st.floats(0, 1)
)
def test_shares_add_up_to_the_whole(
    encode: float, graph: float, products: float, padding: float, weights: float
) -> None:
    times = Times(encode=encode, graph=graph, products=products, padding=padding)
    for kinds in ({}, {PRODUCTS: weights, ATTENTION: 1 - weights}):
        assert sum(account(times, kinds).values()) == pytest.approx(1, abs=1e-6)


def test_padding_is_taken_out_of_the_graph_alone() -> None:
    times = Times(encode=10.0, graph=8.0, products=4.0, padding=0.25)
    found = account(times, {PRODUCTS: 0.75, ATTENTION: 0.25})
    assert found == {
        "products with weights at the ceiling": 0.4,
        "products with weights, beyond the ceiling": pytest.approx(0.05),
        ATTENTION: pytest.approx(0.15),
        "padding": pytest.approx(0.2),
        "tokenizing that the graph waits for, copies, Python": pytest.approx(0.2),
    }


def test_operators_are_counted_once_by_their_kind() -> None:
    runs = [
        run("If", 70, 3, 4, 8),
        run("MultiHeadAttention", 60, 3, 4, 8),
        run("MatMul", 10, 3, 2, 4, 4),
        run("Gemm", 100, 12, 8),
        run("Gelu", 5, 3, 4, 8),
        run("Add", 7, 3, 4, 8),
    ]
    assert shares_of(runs, tokens=12) == {PRODUCTS: 100, ATTENTION: 70, ACTIVATIONS: 5, OTHERS: 7}


def test_the_command_line_names_provider_and_precision() -> None:
    found = parse(["--provider", "openvino", "--precision", "bf16", "--no-certified"])
    assert (found.provider, found.precision, found.certified) == ("openvino", "bf16", False)
