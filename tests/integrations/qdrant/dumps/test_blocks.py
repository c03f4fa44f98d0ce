"""Blocks of a dump hold points to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from decant.integrations.qdrant import DumpError, Point
from decant.integrations.qdrant.dumps.blocks import read_block, write_block
from decant.integrations.qdrant.stores.sparse_vector import SparseVector


def points(count: int, seed: int = 0) -> list[Point]:
    """Return points some of which lack some of their vectors."""
    draw = np.random.default_rng(seed)

    def sparse(size: int) -> SparseVector:
        indices = draw.choice(2**32, size, replace=False).astype(np.int64)
        return SparseVector(indices=indices, values=draw.standard_normal(size, np.float32))

    return [
        Point(
            id=f"00000000-0000-0000-0000-{number:012}",
            payload={
                "text": "line\u2028separator\n漢" * (number % 3),
                "n": number / 3,
                "deep": [{}],
            },
            dense=draw.standard_normal(5, np.float32) if number % 4 else None,
            sparse=sparse(number % 5 + 1) if number % 3 else None,
            soft_tokens=draw.standard_normal((number % 4, 3), np.float32) if number % 2 else None,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_a_block_gives_the_same_points_to_the_bit(count: int) -> None:
    wanted = points(count)
    found = read_block(*write_block(wanted), where="here")
    assert [one.id for one in found] == [one.id for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.payload == other.payload
        for name in ("dense", "soft_tokens"):
            mine, theirs = getattr(one, name), getattr(other, name)
            assert (mine is None) == (theirs is None)
            assert mine is None or (mine.tobytes(), mine.shape) == (theirs.tobytes(), theirs.shape)
        assert (one.sparse is None) == (other.sparse is None)
        if one.sparse is not None and other.sparse is not None:
            assert one.sparse.indices.tolist() == other.sparse.indices.tolist()
            assert one.sparse.values.tobytes() == other.sparse.values.tobytes()


def test_equal_points_make_equal_bytes() -> None:
    assert write_block(points(20)) == write_block(points(20))


def test_lines_and_arrays_of_different_blocks_are_refused() -> None:
    lines, _ = write_block(points(20))
    _, arrays = write_block(points(5))
    with pytest.raises(DumpError, match="here has fewer vectors"):
        read_block(lines, arrays, where="here")
    with pytest.raises(DumpError, match="here is damaged"):
        read_block(b"[]\n", arrays, where="here")
    with pytest.raises(DumpError, match="here is damaged"):
        read_block(lines, b"no arrays", where="here")
