"""Vectors as bytes and back: every bit, whatever was asked for, and nothing else is taken."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decant.embedders import Output, RemoteError, SparseVectors, Vectors
from decant.embedders.remote import pack_vectors
from decant.embedders.remote.vector_archive import Expected, unpack_vectors

DIM, SHAPE = 5, (2, 3)


def some_vectors(count: int, seed: int, outputs: frozenset[Output]) -> Vectors:
    """Return vectors with any bits, negative zeros and denormals included."""
    drawn = np.random.default_rng(seed)

    def floats(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        bits = drawn.integers(0, 2**32, shape, np.uint64).astype(np.uint32)
        return bits.view(np.float32)

    sparse = None
    if Output.SPARSE in outputs:
        lengths = drawn.integers(0, 4, count)
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        total = int(starts[-1])
        indices = drawn.integers(0, 2**40, total)
        sparse = SparseVectors(starts=starts, indices=indices, values=floats(total))
    return Vectors(
        dense=floats(count, DIM),
        sparse=sparse,
        soft_tokens=floats(count, *SHAPE) if Output.SOFT_TOKENS in outputs else None,
        token_embeddings=(
            tuple(floats(int(drawn.integers(1, 6)), 7) for _ in range(count))
            if Output.TOKEN_EMBEDDINGS in outputs
            else None
        ),
    )


def arrays(vectors: Vectors) -> list[bytes]:
    """Return the bytes of all that is there."""
    sparse = vectors.sparse
    found = [vectors.dense, vectors.soft_tokens, *(vectors.token_embeddings or ())]
    if sparse is not None:
        found += [sparse.starts, sparse.indices, sparse.values]  # type: ignore[list-item]
    return [repr(one.shape).encode() + one.tobytes() for one in found if one is not None]


def expected(count: int, outputs: frozenset[Output]) -> Expected:
    """Return what an archive must hold."""
    return Expected(count=count, dim=DIM, outputs=outputs, soft_tokens_shape=SHAPE)


OUTPUTS = st.frozensets(st.sampled_from(Output))


@given(st.integers(1, 9), st.integers(0, 2**32), OUTPUTS)
def test_every_bit_arrives(count: int, seed: int, outputs: frozenset[Output]) -> None:
    given = some_vectors(count, seed, outputs)
    found = unpack_vectors(pack_vectors(given), expected(count, outputs), where="here")
    assert arrays(found) == arrays(given)


@given(st.integers(1, 4), OUTPUTS, st.data())
def test_damaged_bytes_are_an_error_of_ours_or_harmless(
    count: int, outputs: frozenset[Output], data: st.DataObject
) -> None:
    packed = bytearray(pack_vectors(some_vectors(count, 1, outputs)))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    found = None
    with suppress(RemoteError):
        found = unpack_vectors(bytes(packed), expected(count, outputs), where="here")
    assert found is None or found.dense.shape == (count, DIM)


@given(st.integers(1, 4), OUTPUTS, st.data())
def test_a_part_of_the_bytes_is_never_taken(
    count: int, outputs: frozenset[Output], data: st.DataObject
) -> None:
    packed = pack_vectors(some_vectors(count, 1, outputs))
    part = packed[: data.draw(st.integers(0, len(packed) - 1))]
    with pytest.raises(RemoteError):
        unpack_vectors(part, expected(count, outputs), where="here")


@pytest.mark.parametrize("output", Output)
def test_what_was_asked_for_has_to_be_there(output: Output) -> None:
    packed = pack_vectors(some_vectors(2, 1, frozenset()))
    with pytest.raises(RemoteError, match="it holds no "):
        unpack_vectors(packed, expected(2, frozenset([output])), where="here")


def test_rows_of_sparse_vectors_must_ascend() -> None:
    bad = SparseVectors(
        starts=np.array([0, 3, 2]),
        indices=np.array([1, 2]),
        values=np.array([1.0, 2.0], np.float32),
    )
    packed = pack_vectors(Vectors(dense=np.zeros((2, DIM), np.float32), sparse=bad))
    with pytest.raises(RemoteError, match="do not ascend"):
        unpack_vectors(packed, expected(2, frozenset([Output.SPARSE])), where="here")
