"""Check a graph's weights against the source's, bit by bit.

The vectors of probe texts do not show a damaged row of the token table that no probe uses; this
check does. It knows the source by fingerprints, so that the source need not be in memory together
with the graph.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from decant.embedders import CertificateCheck
from decant.embedders.pytorch import PooledModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprints:
    """Shapes and hashes of a model's matrices, as they are and transposed.

    Args:
        shapes: Their shapes.
        hashes: SHA-256 of their bytes, row by row.
    """

    shapes: frozenset[tuple[int, ...]]
    hashes: frozenset[bytes]

    @classmethod
    def of(cls, model: PooledModel) -> Fingerprints:
        """Return the fingerprints of a model on the CPU."""
        parameters = [value.detach().numpy() for value in model.state_dict().values()]
        matrices = [value for value in parameters if value.ndim == 2]
        both = [*matrices, *(value.T for value in matrices)]
        return cls(
            shapes=frozenset(value.shape for value in both),
            hashes=frozenset(_hash(value) for value in both),
        )


def weights_check(source: Fingerprints, path: Path) -> CertificateCheck:
    """Check that every weight of a graph is one of the source's.

    The exporter stores linear layers transposed and shares equal tensors, so a tensor is identified
    by its bytes; a tensor with the shape of a weight and the bytes of none is damaged. Vectors
    (biases, norms) are left to the probes, which use every element of them, because some are folded
    into constants (Gemma's ``1 + weight``).
    """
    compared, strange = 0, []
    # Weights in an external file are read one at a time.
    for tensor in onnx.load(path, load_external_data=False).graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and tuple(tensor.dims) in source.shapes:
            compared += 1
            stored = onnx.numpy_helper.to_array(tensor, base_dir=str(path.parent))
            if _hash(stored) not in source.hashes:
                strange.append(tensor.name)
    finding = f"{strange[0]} is not a weight of the source" if strange else ""
    if compared == 0:
        finding = "the graph holds no matrix of the shape of a weight"
    return CertificateCheck(
        name="weights",
        cases=compared,
        worst_cosine=-1.0 if finding else 1.0,
        passed=not finding,
        finding=finding,
    )


def _hash(values: NDArray[np.generic]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(values).data).digest()
