"""Run another tool's ONNX graph unchanged: one text, no padding, no optimisation.

Its token states, pooled in plain numpy, are the reference of the imported graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Attention, BundleError, CertificateCheck, Pooling, Recipe, RecipeError
from decant.embedders.errors import need
from decant.embedders.tokens import Tokens

from ..certify.reference import Reference
from .contract import Contract, Feed, Input, other_width
from .dense_weights import Layer
from .numpy_pooling import plain_vector

_EXPLAINED_ROWS = 8
_LOOK_AHEAD = 4
# In a causal graph, states before a changed token may differ by rounding only.
_UNMOVED = 1e-4


class Original:
    """The original graph, open on the CPU.

    Args:
        path: The ONNX file.
        contract: Its inputs and outputs.

    Raises:
        BundleError: ONNX Runtime does not open it.
    """

    def __init__(self, path: Path, contract: Contract) -> None:
        runtime = need("onnxruntime", extra="cpu")
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # errors are raised, not written to the terminal
        # The reference is the graph itself, without the runtime's fusions.
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._path = path
        self._contract = contract
        try:
            self._session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors share no base of their own
            raise BundleError(f"ONNX Runtime does not open {path}: {_first_line(error)}") from error

    def states(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the token states of one text, float32, shape (T, d).

        Raises:
            BundleError: The graph does not run, or gives another shape.
        """
        feeds = {item.name: self._fed(item, ids) for item in self._contract.inputs}
        try:
            (hidden,) = self._session.run([self._contract.hidden], feeds)
        except Exception as error:  # its errors share no base of their own
            raise BundleError(
                f"{self._path} does not run on {len(ids)} tokens: {_first_line(error)}"
            ) from error
        if hidden.ndim != 3 or hidden.shape[:2] != (1, len(ids)):
            raise BundleError(
                f"{self._path}: {self._contract.hidden} has the shape {hidden.shape} for one text "
                f"of {len(ids)} tokens; the import needs (1, {len(ids)}, width)"
            )
        if self._contract.width not in (None, hidden.shape[2]):
            raise BundleError(other_width(self._path, hidden.shape[2], self._contract.width))
        return np.asarray(hidden[0], np.float32)

    def _fed(self, item: Input, ids: Sequence[int]) -> NDArray[Any]:
        kind = item.dtype.numpy()
        match item.feed:
            case Feed.IDS:
                return np.array([ids], kind)
            case Feed.MASK:
                return np.ones((1, len(ids)), kind)
            case Feed.POSITIONS:
                first = self._contract.first_position
                counted = np.array([[one != self._contract.uncounted_id for one in ids]])
                ranks = np.cumsum(counted, axis=1) * counted  # 0 for tokens that are not counted
                return np.asarray(ranks + first - 1, kind)
            case Feed.TYPES:
                return np.zeros((1, len(ids)), kind)
            case Feed.PAST:
                return np.zeros((1, item.heads, 0, item.width), kind)
            case _:
                assert_never(item.feed)


def original_reference(
    original: Original,
    rows: Sequence[Tokens],
    *,
    texts: list[str],
    recipe: Recipe,
    head: Sequence[Layer],
) -> Reference:
    """Run every row alone and unpadded through the original.

    Args:
        original: The open graph.
        rows: The probe texts as tokens.
        texts: The probe texts.
        recipe: Pooling, width and normalisation.
        head: The recipe's dense layers.

    Raises:
        RecipeError: The recipe's head or width does not fit the graph's states.
    """
    others: dict[Pooling, list[NDArray[np.float32]]] = {
        pooling: [] for pooling in _other_poolings(recipe)
    }
    vectors = []
    for number, row in enumerate(rows):
        states = original.states(row.ids)
        if number == 0:
            _check_widths(states.shape[1], recipe)
        counted = states[row.counted : row.end]
        vectors.append(plain_vector(counted, recipe=recipe, pooling=recipe.pooling, head=head))
        for pooling, found in others.items() if number < _EXPLAINED_ROWS else ():
            found.append(plain_vector(counted, recipe=recipe, pooling=pooling, head=head))
    return Reference(
        texts=texts,
        vectors=np.stack(vectors),
        others={pooling: np.stack(found) for pooling, found in others.items()},
    )


def _other_poolings(recipe: Recipe) -> list[Pooling]:
    causal = recipe.attention is Attention.CAUSAL
    pointless = {recipe.pooling, Pooling.FIRST} if causal else {recipe.pooling}
    return [pooling for pooling in Pooling if pooling not in pointless]


def _check_widths(hidden: int, recipe: Recipe) -> None:
    if recipe.head and recipe.head[0].inputs != hidden:
        raise RecipeError(
            f"the head takes {recipe.head[0].inputs} values, the graph gives {hidden}; graph and "
            "model folder belong to different models"
        )
    width = recipe.head[-1].outputs if recipe.head else hidden
    if recipe.dim is not None and recipe.dim > width:
        raise RecipeError(f"dim {recipe.dim} exceeds the graph's width {width}")


def attention_check(
    original: Original, rows: Sequence[Tokens], recipe: Recipe
) -> list[CertificateCheck]:
    """Check that later tokens change earlier states exactly if the recipe's attention lets them.

    This is for float graphs only, because with dynamic integer scales every token changes all
    others. There is no check if no row has two tokens.
    """
    row = max((row.ids for row in rows), key=lambda ids: len(set(ids)))
    ids = row[:_LOOK_AHEAD]
    other = next((token for token in row if token != ids[-1]), None)
    if other is None or len(ids) == 1:
        return []
    before, after = original.states(ids), original.states((*ids[:-1], other))
    moved = np.abs(after[:-1] - before[:-1]).max() > _UNMOVED * np.abs(before).max()
    found = Attention.BIDIRECTIONAL if moved else Attention.CAUSAL
    passed = found is recipe.attention
    finding = (
        f"the graph's attention is {found}, the recipe says {recipe.attention}; a finished graph "
        "cannot be changed, so export the model itself or correct the recipe"
    )
    return [
        CertificateCheck(
            name="attention",
            cases=len(ids) - 1,
            worst_cosine=1.0 if passed else -1.0,
            passed=passed,
            finding="" if passed else finding,
        )
    ]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
