"""What goes wrong with the service comes out as decant's own error, and nothing is stored."""

from __future__ import annotations

import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import Collection, Document, Record, ServerInference, Store
from decant.integrations.qdrant.points.payloads import DOCUMENTS
from decant.integrations.qdrant.stores.protocol import Select, each
from qdrant_double import QdrantDouble, ServiceAnswer
from served_inference import serve_inference

WIDE = b'{"embeddings": [[1, 2, 3, 4, 5], {"indices": [1], "values": [1.0]}]}'


def refused(status: int, body: bytes = b"{}") -> ServiceAnswer:
    return ServiceAnswer(status=status, body=body)


FAULTS = {
    "refused": (refused(400, b'{"error": "no"}'), "validation failed: no; .*serve"),
    "not JSON": (refused(400, b"no"), "Invalid inference request: no; .*serve"),
    "key": (refused(401), "Authentication failed for inf.*QDRANT__INFERENCE__TOKEN"),
    "too large": (refused(413), "can't process request.*serve"),
    "busy": (refused(429), "failed after 3 attempts.*(queue-tokens|Too Many)"),
    "broken": (refused(500), "Inference service error.*`decant serve` runs"),
    "stopping": (refused(503), "Inference service error.*nothing was stored"),
    "none": (ServiceAnswer(body=b'{"embeddings": []}'), "returned no vectors.*inference.address"),
    "NaN": (ServiceAnswer(body=b'{"embeddings": [[NaN]]}'), "Failed to parse.*/infer of `decant"),
    "width": (ServiceAnswer(body=WIDE), "expected dim: 16, got 5.*another width"),
}


@pytest.fixture
def opened(store: Store, empty: Collection) -> Collection:
    """Return a collection whose server's model is proven."""
    opened = Collection.open(store, empty.name, ServerInference("minilm"))
    opened.add([Record(id="first", text="the first")])
    return opened


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_says_what_to_do_and_stores_nothing(
    inferring: QdrantDouble, store: Store, opened: Collection, fault: str
) -> None:
    answer, said = FAULTS[fault]
    inferring.inference = lambda _: answer
    for work in (
        lambda: opened.add([Record(text="the second")]),
        lambda: opened.search("the second"),
    ):
        with pytest.raises(StoreError, match=f"(?s){said}"):
            work()
    with pytest.raises(StoreError, match=f"(?s){said}"):
        opened.index([Document(source="a.txt", text="the third", root="r")])
    assert opened.count() == 1
    # The marker of the document stays open, so that the next run completes it.
    markers = [
        point.payload["state"]
        for page in each(store, "docs", DOCUMENTS, Select(fields=("state",)))
        for point in page
    ]
    assert markers == ["new"]


def test_the_next_run_completes_what_a_fault_ended(
    inferring: QdrantDouble, opened: Collection
) -> None:
    service, answers = inferring.inference, [FAULTS["refused"][0]]
    assert service is not None
    inferring.inference = lambda body: answers.pop() if answers else service(body)
    documents = [Document(source="a.txt", text="the third", root="r")]
    with pytest.raises(StoreError, match="validation failed"):
        opened.index(documents)
    assert opened.index(documents).added == 1
    assert opened.check().findings == ()


@pytest.mark.parametrize("status", [429, 500])
def test_what_passes_is_tried_again(
    inferring: QdrantDouble, opened: Collection, status: int
) -> None:
    service = inferring.inference
    assert service is not None
    answers = [ServiceAnswer(status=status, headers={"retry-after": "0"}) for _ in range(2)]
    inferring.inference = lambda body: answers.pop() if answers else service(body)
    opened.add([Record(text="the second")])
    assert opened.count() == 2


def test_a_server_without_the_address_says_how_it_gets_one(
    inferring: QdrantDouble, opened: Collection
) -> None:
    inferring.inference = None
    with pytest.raises(StoreError, match="QDRANT__INFERENCE__ADDRESS=http://HOST:6900/infer"):
        opened.search("the second")


def test_the_key_of_decant_serve_is_the_servers_token(
    inferring: QdrantDouble, opened: Collection, model: HashEncoder
) -> None:
    with serve_inference({"minilm": model}, key="a-key-of-some-length") as service:
        inferring.inference = service
        with pytest.raises(StoreError, match="QDRANT__INFERENCE__TOKEN"):
            opened.search("the second")
        inferring.inference_token = "a-key-of-some-length"
        assert opened.search("the second")


def test_a_text_that_the_model_cannot_read_names_no_text(opened: Collection) -> None:
    """The service says which text it is by its place alone."""
    texts = [Record(text="fine"), Record(text="x" * 1_100_000)]
    with pytest.raises(StoreError, match=r"text \d has 1,100,000 bytes.*nothing was stored"):
        opened.add(texts)
    assert opened.count() == 1
