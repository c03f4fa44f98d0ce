"""An encoder with several addresses goes on when one of its servers ends."""

from __future__ import annotations

import pickle
from contextlib import ExitStack

import numpy as np
import pytest

from decant.embedders import HashEncoder, RemoteAccess, RemoteEncoder, RemoteError, Role
from decant.embedders.remote.nodes import read_addresses
from served_encoder import served

TEXTS = ["the sea", "the sky"]
QUICK = RemoteAccess(timeout=5)


@pytest.fixture(scope="module")
def local() -> HashEncoder:
    return HashEncoder(16)


def encode(encoder: RemoteEncoder) -> np.ndarray:
    return encoder.encode(TEXTS, role=Role.PASSAGE).dense


def test_the_next_server_is_asked_when_one_ends(local: HashEncoder) -> None:
    expected = local.encode(TEXTS, role=Role.PASSAGE).dense
    with served(local) as second, ExitStack() as first:
        one = first.enter_context(served(local))
        with RemoteEncoder.connect(f"{one},{second}", access=QUICK) as encoder:
            assert np.array_equal(encode(encoder), expected)
            first.close()
            assert np.array_equal(encode(encoder), expected)
            assert np.array_equal(encode(encoder), expected)
            assert encoder.address == f"{one},{second}"
            again = pickle.loads(pickle.dumps(encoder))
            with again:
                assert np.array_equal(encode(again), expected)


def test_a_server_that_is_away_at_the_start_is_passed_over(local: HashEncoder) -> None:
    with served(local) as second:
        with served(local) as one:
            pass
        with RemoteEncoder.connect(f"{one}, {second}", access=QUICK) as encoder:
            assert encode(encoder).shape == (2, 16)


def test_a_server_of_another_model_is_never_used(local: HashEncoder) -> None:
    with served(HashEncoder(24)) as other, ExitStack() as first:
        one = first.enter_context(served(local))
        with RemoteEncoder.connect(f"{one},{other}", access=RemoteAccess(timeout=2)) as encoder:
            encode(encoder)
            first.close()
            with pytest.raises(RemoteError, match="serve the same bundle at all its addresses"):
                encode(encoder)


def test_that_no_server_answers_is_said_of_each(local: HashEncoder) -> None:
    with ExitStack() as both:
        urls = [both.enter_context(served(local)) for _ in range(2)]
        with RemoteEncoder.connect(",".join(urls), access=RemoteAccess(timeout=2)) as encoder:
            both.close()
            with pytest.raises(RemoteError, match="none of 2 servers") as caught:
                encode(encoder)
    assert all(url in str(caught.value) for url in urls)


def test_addresses_are_cut_at_commas_before_addresses_only() -> None:
    assert read_addresses("http://a/x,y , https://b/") == ["http://a/x,y", "https://b"]
    with pytest.raises(RemoteError, match="is no address"):
        read_addresses("http://a,http://")
