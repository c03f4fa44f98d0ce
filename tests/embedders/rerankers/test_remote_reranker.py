"""A reranker behind a port obeys the contract of all, and gives the bits of the served one."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contracts.reranker import PASSAGES, QUERY, RerankerContract
from decant.embedders import (
    BundleError,
    HashEncoder,
    HashReranker,
    OnnxReranker,
    ParityError,
    ProviderError,
    RecipeError,
    RemoteAccess,
    RemoteError,
    RemoteReranker,
    Reranker,
    TextError,
    load,
    load_reranker,
)
from decant.serving import (
    ApiKeys,
    QueueSettings,
    ServedModel,
    ServedReranker,
    ServerSettings,
    TextLimits,
    create_app,
)
from served_encoder import Reply, faulty, listening

from .conftest import Made

KEY = "a-key-of-some-length"
GONE = "http://127.0.0.1:1"


def app_of(reranker: Reranker, settings: ServerSettings | None = None) -> Starlette:
    """Return the application that serves one reranker."""
    return create_app([ServedReranker(name="ranker", reranker=reranker)], settings=settings)


@pytest.fixture(scope="module")
def local() -> HashReranker:
    return HashReranker(max_tokens=24)


@pytest.fixture(scope="module")
def url(local: HashReranker) -> Iterator[str]:
    with listening(app_of(local)) as found:
        yield found


@pytest.fixture(scope="module")
def remote(url: str) -> Iterator[RemoteReranker]:
    with RemoteReranker.connect(url) as found:
        yield found


@pytest.fixture(scope="module", params=["cross_encoder", "causal"])
def onnx(request: pytest.FixtureRequest) -> Iterator[OnnxReranker]:
    made: Made = request.getfixturevalue(request.param)
    with load_reranker(made.bundle, provider="cpu") as found:
        yield found


@pytest.fixture(scope="module")
def remote_onnx(onnx: OnnxReranker) -> Iterator[RemoteReranker]:
    with listening(app_of(onnx)) as found, RemoteReranker.connect(found) as reranker:
        yield reranker


class TestOfAHash(RerankerContract):
    @pytest.fixture
    def reranker(self, remote: RemoteReranker) -> Reranker:
        return remote


class TestOfABundle(RerankerContract):
    @pytest.fixture
    def reranker(self, remote_onnx: RemoteReranker) -> Reranker:
        return remote_onnx


def test_every_bit_is_that_of_the_served_reranker(
    onnx: OnnxReranker, remote_onnx: RemoteReranker
) -> None:
    for raw in (False, True):
        np.testing.assert_array_equal(
            remote_onnx.score(QUERY, PASSAGES, raw=raw), onnx.score(QUERY, PASSAGES, raw=raw)
        )
    assert (remote_onnx.precision, remote_onnx.provider) == (onnx.precision, onnx.provider)
    assert remote_onnx.recipe == onnx.recipe
    manifest = onnx.bundle.manifest
    assert remote_onnx.facts.graph == manifest.files[manifest.graphs[onnx.precision]]
    runtime = onnx.runtime
    assert remote_onnx.facts.limits.pass_tokens == 2 * runtime.workers * runtime.token_budget


def test_many_pairs_are_sent_in_several_requests_and_keep_their_order(
    local: HashReranker, remote: RemoteReranker
) -> None:
    pairs = [(f"text {n // 7}", f"text {n % 5} of {n}") for n in range(700)]
    seen: list[int] = []
    found = remote.score_pairs(iter(pairs), progress=seen.append)
    np.testing.assert_array_equal(found, local.score_pairs(pairs))
    assert sum(seen) == len(pairs)
    assert len(seen) > 1


def test_an_instruction_reaches_the_model(onnx: OnnxReranker, remote_onnx: RemoteReranker) -> None:
    if onnx.recipe.pair.instruction is None:
        with pytest.raises(RecipeError, match="takes no instruction"):
            remote_onnx.score(QUERY, PASSAGES, instruction="find")
        return
    wanted = onnx.score(QUERY, PASSAGES, instruction="which is a report")
    found = remote_onnx.score(QUERY, PASSAGES, instruction="which is a report")
    np.testing.assert_array_equal(found, wanted)
    with pytest.raises(RecipeError, match="blank"):
        remote_onnx.score(QUERY, PASSAGES, instruction=" ")


def test_a_query_that_leaves_no_room_is_refused_by_the_server(remote_onnx: RemoteReranker) -> None:
    with pytest.raises(TextError, match="leaves no room for a passage"):
        remote_onnx.score("stone " * 200, PASSAGES)


def test_load_reranker_takes_an_address_and_checks_what_it_is_asked_for(url: str) -> None:
    with load_reranker(f"{url}/", provider="hashreranker", precision="fp32") as found:
        assert RemoteReranker in type(found).__mro__
        assert OnnxReranker not in type(found).__mro__
        assert url in repr(found)
    with pytest.raises(ProviderError, match="runs on HashReranker"):
        load_reranker(url, provider="cuda")
    with pytest.raises(ProviderError, match="access= is for the address"):
        load_reranker("./reranker", access=RemoteAccess())
    with load_reranker(f"{url}/models/ranker@{HashReranker(max_tokens=24).recipe.digest()}"):
        pass
    for name, message in (("ranker@0123", "has the recipe"), ("other", "there is no model")):
        with pytest.raises(RemoteError, match=message):
            load_reranker(f"{url}/models/{name}")


def test_encoders_and_rerankers_are_not_taken_for_each_other(url: str) -> None:
    with pytest.raises(RemoteError, match="has rerankers alone: ranker"):
        load(url)
    with pytest.raises(RemoteError, match="ranker is a reranker"):
        load(f"{url}/models/ranker")
    app = create_app([ServedModel(name="minilm", encoder=HashEncoder(dim=4))])
    with listening(app) as other:
        with pytest.raises(RemoteError, match="has no reranker; it has minilm"):
            load_reranker(other)
        with pytest.raises(RemoteError, match="minilm is an encoder"):
            load_reranker(f"{other}/models/minilm")


def test_a_server_of_tei_is_refused_by_its_name() -> None:
    async def info(_: Request) -> Response:
        return JSONResponse({"model_id": "bge", "max_concurrent_requests": 512})

    tei = Starlette(routes=[Route("/info", info)])
    with listening(tei) as found, pytest.raises(RemoteError, match="text-embeddings-inference"):
        load_reranker(found)
    with listening(Starlette()) as found, pytest.raises(RemoteError, match="404"):
        load_reranker(found)


def test_a_key_is_sent_and_never_pickled(
    local: HashReranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app([ServedReranker(name="r", reranker=local)], keys=ApiKeys.of([KEY]))
    with listening(app) as found:
        with pytest.raises(RemoteError, match="401"):
            load_reranker(found)
        with load_reranker(found, access=RemoteAccess(api_key=KEY)) as reranker:
            pickled = pickle.dumps(reranker)
            wanted = reranker.score(QUERY, PASSAGES)
        assert KEY.encode() not in pickled
        monkeypatch.setenv("DECANT_API_KEY", KEY)
        with pickle.loads(pickled) as copy:
            np.testing.assert_array_equal(copy.score(QUERY, PASSAGES), wanted)


def test_what_was_pickled_takes_no_other_model(local: HashReranker) -> None:
    with faulty(app_of(local)) as server, RemoteReranker.connect(server.url) as reranker:
        pickled = pickle.dumps(reranker)
        server.app = app_of(HashReranker(max_tokens=7))
        with pytest.raises(BundleError, match="was pickled had recipe"):
            pickle.loads(pickled)
        with pytest.raises(BundleError, match="Another model is served"):
            reranker.score(QUERY, PASSAGES)


def test_when_one_server_ends_the_next_scores(url: str, local: HashReranker) -> None:
    with RemoteReranker.connect(f"{GONE},{url}") as found:
        np.testing.assert_array_equal(found.score(QUERY, PASSAGES), local.score(QUERY, PASSAGES))
    with listening(app_of(local)) as first:
        both = RemoteReranker.connect(f"{first},{url}")
    with both:
        np.testing.assert_array_equal(both.score(QUERY, PASSAGES), local.score(QUERY, PASSAGES))
    with listening(app_of(HashReranker(max_tokens=7))) as other, listening(app_of(local)) as own:
        mixed = RemoteReranker.connect(f"{own},{other}")
        assert [client.url for client in mixed._clients] == [own, other]
        with pytest.raises(BundleError, match="this reranker is of recipe"):
            mixed._prove(mixed._clients[1])
        mixed.close()


def test_limits_of_the_server_are_kept_or_halved(local: HashReranker) -> None:
    settings = ServerSettings(
        queue=QueueSettings(capacity=40), limits=TextLimits(texts=3, text_bytes=300)
    )
    pairs = [(QUERY, f"text {n}") for n in range(20)]
    with listening(app_of(local, settings)) as found, RemoteReranker.connect(found) as reranker:
        np.testing.assert_array_equal(reranker.score_pairs(pairs), local.score_pairs(pairs))
        with pytest.raises(TextError, match="text 1 has 301 bytes"):
            reranker.score(QUERY, ["a", "b" * 301])
        with pytest.raises(TextError, match="the query of text 0 has 301 bytes"):
            reranker.score("b" * 301, ["a"])


def test_what_passes_is_asked_again_and_what_does_not_is_named(local: HashReranker) -> None:
    with faulty(app_of(local)) as server, RemoteReranker.connect(server.url) as reranker:
        server.path = "/score"
        server.faults += [Reply(status=503), Reply(status=429, headers={"retry-after": "0"})]
        np.testing.assert_array_equal(reranker.score(QUERY, PASSAGES), local.score(QUERY, PASSAGES))
        assert len(server.asked) == 3
        sent = [json.loads(one.body) for one in server.asked]
        assert all(one == other for one, other in pairwise(sent))
        assert [group["query"] for group in sent[0]["groups"]] == [QUERY]
        server.faults.append(Reply(body=b"PK garbage", kind="application/zip"))
        with pytest.raises(RemoteError, match="cannot be read"):
            reranker.score(QUERY, PASSAGES)
        server.faults.append(
            Reply(status=500, body=b'{"error": "no number", "kind": "not_finite"}')
        )
        with pytest.raises(ParityError, match=r"the reranker at .*no number"):
            reranker.score(QUERY, PASSAGES)
    with pytest.raises(ProviderError, match="this reranker of hash is closed"):
        reranker.score(QUERY, PASSAGES)
