"""Check that another tool's graph and a model's folder belong together.

A graph does not name the model that it was made of, and tokenizer, pooling and head come from the
folder. So its sizes are compared with ``config.json`` and the tokenizer. If the folder holds
``*.safetensors``, a few numbers of every float matrix are compared with those of the same shape. A
graph that cannot be compared, such as one of integers alone, is identified by its own hash in the
recipe's revision (``importer.py``). ``certify/weight_checks.py`` compares an export, bit by bit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - teaches numpy the name bfloat16, which safetensors asks it for
import numpy as np
import onnx_ir
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from decant.embedders import BundleError, CertificateCheck, RecipeError
from decant.embedders.tokens import embedding_count

from ..graph.external_data import weights_of
from .contract import Feed

_IDS_PASS = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_TABLES_PASS = frozenset({"Cast", "DequantizeLinear", "Identity"})
# The inputs of ids and of the table, by operator (ONNX Gather; ONNX Runtime's ContribOperators:
# EmbedLayerNormalization, GatherBlockQuantized).
_LOOKUPS = {
    "Gather": (1, 0),
    "GatherBlockQuantized": (1, 0),
    "EmbedLayerNormalization": (0, 2),
    "QEmbedLayerNormalization": (0, 2),
}
_FLOATS = {
    onnx_ir.DataType.FLOAT: 1e-6,
    onnx_ir.DataType.FLOAT16: 2.0**-10,
    onnx_ir.DataType.BFLOAT16: 2.0**-7,
}
"""Types that are compared, and the largest change of a number by rounding to them."""
_STORED = {"F64": 1e-6, "F32": 1e-6, "F16": 2.0**-10, "BF16": 2.0**-7}
_SMALLEST = 1e-7  # float16 has no finer steps
_ROWS = 16  # sampled numbers of a matrix, from its first to its last
_COLUMNS = 16
_RANK = 2

Sample = NDArray[np.float32]
Shape = tuple[int, ...]


def check_token_table(model: onnx_ir.Model, path: Path, folder: Path, tokenizer: Tokenizer) -> None:
    """Refuse a graph whose token table has other rows than config and tokenizer have tokens.

    Args:
        model: The graph; a graph in which no table is found is accepted.
        path: The file, for messages.
        folder: The model's folder.
        tokenizer: Its tokenizer. If ``config.json`` states how many tokens have an embedding, texts
            with other tokens are refused later (:mod:`decant.embedders.tokens.checks`).

    Raises:
        BundleError: The rows differ.
    """
    found = _token_table(model)
    rows = None if found is None or found.shape is None else found.shape[0]
    if not isinstance(rows, int):
        return
    said = embedding_count(folder)
    if said is not None and said != rows:
        raise BundleError(
            f"{path} has embeddings for {rows} tokens and {folder / 'config.json'} says {said} "
            "(vocab_size); graph and model folder belong to different models. Give the folder of "
            "the model that the graph was made of"
        )
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if said is None and highest >= rows:
        raise BundleError(
            f"{path} has embeddings for {rows} tokens and the tokenizer in {folder} gives ids up "
            f"to {highest}; graph and model folder belong to different models, or config.json "
            "lacks vocab_size"
        )


def check_weights(
    model: onnx_ir.Model, path: Path, folder: Path, *, adapted: bool
) -> list[CertificateCheck]:
    """Compare some of a graph's weights with those in a model's folder.

    The token table must be one of the folder's matrices. Of the other float matrices with the shape
    of a weight, most must be, because tools fold factors into a few. Transposed ones count.

    Args:
        model: The graph.
        path: The file, for messages.
        folder: The model's folder. Without ``*.safetensors`` nothing is compared.
        adapted: Whether the model has adapters: then most matrices differ from the folder's, and
            only the token table is compared.

    Returns:
        A passed check named ``weights``, or none if nothing can be compared.

    Raises:
        BundleError: The weights differ.
        RecipeError: A file of weights cannot be read.
    """
    stored = _Stored(folder)
    table = _token_table(model)
    known = 0
    strange: list[str] = []
    for value in weights_of(model):
        same = stored.holds(value)
        if same is None or (adapted and value is not table):
            continue
        if value is table and not same:
            raise _other_weights(path, folder, f"its token table {value.name}")
        known += same
        if not same:
            strange.append(str(value.name))
    if len(strange) > known:
        raise _other_weights(
            path, folder, f"{len(strange)} of its {known + len(strange)} matrices ({strange[0]} …)"
        )
    if not known:
        return []
    return [CertificateCheck(name="weights", cases=known, worst_cosine=1.0, passed=True)]


def _other_weights(path: Path, folder: Path, what: str) -> BundleError:
    return BundleError(
        f"{path} was not made of the weights in {folder}: there is no weight there like {what}. "
        "Give the folder of the model that the graph was made of; if its weights were changed "
        "afterwards, a folder with config and tokenizer alone"
    )


def _token_table(model: onnx_ir.Model) -> onnx_ir.Value | None:
    """Return the constant table in which a graph looks up its ids, or None."""
    for node in model.graph.all_nodes():
        if (places := _LOOKUPS.get(node.op_type)) is None or len(node.inputs) <= max(places):
            continue
        ids, table = (node.inputs[place] for place in places)
        if _before(ids, _IDS_PASS).name != Feed.IDS:
            continue
        found = _before(table, _TABLES_PASS)
        if found.const_value is not None and found.shape is not None:
            return found if len(found.shape) == _RANK else None
    return None


def _before(value: onnx_ir.Value | None, passed: frozenset[str]) -> onnx_ir.Value:
    """Follow a value back through operators that only pass it on."""
    while value is not None:
        node = value.producer()
        if node is None or node.op_type not in passed:
            return value
        value = node.inputs[0]
    return onnx_ir.Value(name="")


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A sample of a stored matrix, and the precision of its type."""

    values: Sample
    exact: float


class _Stored:
    """The float matrices of a folder's ``*.safetensors``, by shape, read when needed."""

    def __init__(self, folder: Path) -> None:
        self._places: dict[Shape, list[tuple[Path, str]]] = defaultdict(list)
        self._samples: dict[Shape, list[_Tensor]] = {}
        for file in sorted(folder.glob("*.safetensors")):
            with _opened(file) as tensors:
                names: list[str] = tensors.keys()
                for name in names:
                    part = tensors.get_slice(name)
                    shape = tuple(part.get_shape())
                    if len(shape) == _RANK and min(shape) > 1 and part.get_dtype() in _STORED:
                        self._places[shape].append((file, name))

    def holds(self, value: onnx_ir.Value) -> bool | None:
        """Return whether a graph's constant is a weight here; None if it cannot be compared."""
        tensor = value.const_value
        if tensor is None or tensor.dtype not in _FLOATS or len(tensor.shape) != _RANK:
            return None
        rows, columns = (int(size) for size in tensor.shape.numpy())
        candidates = [*self._read((rows, columns), turned=False)]
        candidates += self._read((columns, rows), turned=True)
        if not candidates:
            return None
        found = _sample(tensor.numpy())
        if np.ptp(found) == 0:
            return None
        exact = _FLOATS[tensor.dtype]
        return any(_like(found, one.values, max(exact, one.exact)) for one in candidates)

    def _read(self, shape: Shape, *, turned: bool) -> Iterator[_Tensor]:
        if shape not in self._samples:
            self._samples[shape] = []
            for file, name in self._places.get(shape, ()):
                with _opened(file) as tensors:
                    part = tensors.get_slice(name)
                    exact = _STORED[part.get_dtype()]
                    whole = [part[row : row + 1] for row in _spread(shape[0], _ROWS)]
                    picked = np.concatenate(whole)[:, _spread(shape[1], _COLUMNS)]
                self._samples[shape].append(_Tensor(picked.astype(np.float32), exact))
        for one in self._samples[shape]:
            yield _Tensor(one.values.T, one.exact) if turned else one


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with safe_open(file, framework="numpy") as tensors:
            yield tensors
    except (SafetensorError, OSError) as error:
        raise RecipeError(
            f"{file} is not a readable safetensors file ({error}); download it again"
        ) from error


def _sample(matrix: NDArray[np.generic]) -> Sample:
    rows, columns = matrix.shape
    picked = matrix[np.ix_(_spread(rows, _ROWS), _spread(columns, _COLUMNS))]
    return np.asarray(picked, np.float32)


def _spread(size: int, count: int) -> list[int]:
    """Return places from the first to the last, the same from either end of a transposition."""
    return sorted({round(place) for place in np.linspace(0, size - 1, count)})


def _like(found: Sample, stored: Sample, exact: float) -> bool:
    return found.shape == stored.shape and bool(
        np.allclose(found, stored, rtol=exact, atol=_SMALLEST)
    )
