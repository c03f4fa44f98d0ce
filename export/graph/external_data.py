"""External data of an ONNX graph: find weights in files next to it, and write them for a new graph.

Weights are memory-mapped from the original's files and copied once, to their new place; they are
never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx_ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from decant.embedders import BundleError

# One file is easier to move. But writing it takes three times its weights in memory, and protobuf
# refuses 2 GiB; external weights are written one by one.
EXTERNAL_ABOVE = 500_000_000


def weights_of(model: onnx_ir.Model) -> Iterator[onnx_ir.Value]:
    """Yield every initializer, including those of inner graphs."""
    for graph in model.graphs():
        yield from graph.initializers.values()


def prepare_weights(model: onnx_ir.Model, path: Path) -> None:
    """Make every external weight an initializer that can be read.

    Only initializers are written again, and onnx_ir reads no link out of the graph's folder. In the
    hub's cache, graph and weights are such links into one folder of blobs. A link is followed only
    if the real files of graph and weights are in the same folder.
    """
    for node in model.graph.all_nodes():
        value = node.attributes.get("value")
        if value is not None and isinstance(value.value, onnx_ir.ExternalTensor):
            LiftConstantsToInitializersPass()(model)
            break
    home = path.resolve().parent
    for weight in weights_of(model):
        tensor = weight.const_value
        if isinstance(tensor, onnx_ir.ExternalTensor):
            real = Path(tensor.path).resolve()
            if Path(tensor.path).is_symlink() and real.parent == home:
                weight.const_value = onnx_ir.ExternalTensor(
                    real.name,
                    tensor.offset,
                    tensor.length,
                    tensor.dtype,
                    shape=tensor.shape,
                    name=str(tensor.name),
                    base_dir=home,
                )


def weight_files(model: onnx_ir.Model) -> list[Path]:
    """Return the files that hold a graph's external weights."""
    tensors = [value.const_value for value in weights_of(model)]
    return sorted({Path(item.path) for item in tensors if isinstance(item, onnx_ir.ExternalTensor)})


def save_graph(model: onnx_ir.Model, path: Path, *, external_above: int = EXTERNAL_ABOVE) -> None:
    """Write a graph; weights that were external, or are too large for one file, become external.

    Args:
        model: The graph. Its weights may be in another graph's file; they are written again, so
            that no graph depends on another's files.
        path: The file to write; external weights go to ``<path>_data``.
        external_above: Weights of more bytes than this become external.

    Raises:
        BundleError: The original's weights cannot be read.
    """
    tensors = [value.const_value for value in weights_of(model)]
    total = sum(tensor.nbytes for tensor in tensors if tensor is not None)
    external = any(isinstance(tensor, onnx_ir.ExternalTensor) for tensor in tensors)
    data_file = f"{path.name}_data" if external or total > external_above else None
    try:
        onnx_ir.save(model, path, external_data=data_file)
    except ValueError as error:
        raise BundleError(
            f"the graph's external weights cannot be read: {error}; put them in its folder as files"
        ) from error
