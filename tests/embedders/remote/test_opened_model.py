"""A server is taken if its model is what it says, and refused when another one answers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from changed_answers import Change, forward
from decant.embedders import (
    BundleError,
    HashEncoder,
    ParityError,
    RemoteEncoder,
    RemoteError,
    Role,
    Vectors,
)
from decant.serving import ServedModel, create_app
from served_encoder import faulty, listening

LOCAL = HashEncoder(dim=8, max_tokens=64, sparse=True)


def rows(encoder: RemoteEncoder) -> object:
    """Return the vector of a passage."""
    return encoder.encode(["a river"], role=Role.PASSAGE).dense.tolist()


def test_another_model_at_the_same_address_is_refused_on_every_request() -> None:
    other = HashEncoder(dim=8, max_tokens=32)
    first, second = (
        create_app([ServedModel(name="m", encoder=encoder)]) for encoder in (LOCAL, other)
    )
    with (
        listening(second) as elsewhere,
        faulty(first) as server,
        RemoteEncoder.connect(server.url) as encoder,
    ):
        assert rows(encoder) == LOCAL.encode(["a river"], role=Role.PASSAGE).dense.tolist()
        stream = encoder.stream(["a river"] * 5_000, role=Role.PASSAGE)
        next(stream)
        server.app = forward(elsewhere)
        with pytest.raises(BundleError, match=r"recipe .* here.*open it again"):
            list(stream)
        with pytest.raises(BundleError, match=r"Another model is served"):
            rows(encoder)


class Drifting(HashEncoder):
    """An encoder that gives other vectors after a while, as a damaged graph would."""

    drifted = False

    def encode(self, texts: Iterable[str], **options: Any) -> Vectors:
        """Return the vectors, turned round once it has drifted."""
        found = super().encode(texts, **options)
        return Vectors(dense=found.dense[:, ::-1].copy()) if self.drifted else found


def test_a_server_whose_golden_vectors_are_others_is_refused() -> None:
    served = Drifting(dim=8)
    with listening(create_app([ServedModel(name="m", encoder=served)])) as url:
        with RemoteEncoder.connect(url):  # from now on the golden vectors are known
            pass
        served.drifted = True
        with pytest.raises(ParityError, match=r"cosine .* fp32 needs 0.99999"):
            RemoteEncoder.connect(url)
        with RemoteEncoder.connect(url, allow_uncertified=True) as encoder:
            assert len(encoder.encode(["a"], role=Role.QUERY)) == 1


def with_field(name: str, value: object) -> Change:
    """Return a change of one field of the facts."""
    return lambda body: json.dumps({**json.loads(body), name: value}).encode()


@pytest.mark.parametrize(
    ("path", "change", "error", "message"),
    [
        ("/encoder", with_field("protocol", 2), RemoteError, "version 2 of the protocol"),
        ("/encoder", with_field("protocol", None), RemoteError, "no encoder of decant"),
        ("/encoder", with_field("digest", "0" * 16), BundleError, "digest 0000000000000000"),
        ("/encoder", with_field("dim", 9), BundleError, "dim is 9"),
        ("/encoder", with_field("golden", []), BundleError, "golden vectors"),
        ("/encoder", with_field("strange", 1), BundleError, "unknown key 'strange'"),
        ("/encoder", lambda _: b"[]", RemoteError, "no encoder of decant"),
        ("/encoder", lambda body: body[:50], RemoteError, "not valid JSON"),
        ("/tokenizer.json", lambda body: body + b" ", RemoteError, "SHA-256"),
    ],
)
def test_facts_that_do_not_fit_are_refused(
    path: str, change: Change, error: type[Exception], message: str
) -> None:
    with (
        listening(create_app([ServedModel(name="m", encoder=LOCAL)])) as url,
        listening(forward(url, path=path, change=change)) as proxy,
        pytest.raises(error, match=message),
    ):
        RemoteEncoder.connect(proxy)
