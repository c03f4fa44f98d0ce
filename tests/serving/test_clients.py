"""The clients that people have: openai's own, LangChain's and LlamaIndex's, over a real port.

Each gives the vectors of ``encode``, bit for bit in float32: on the way they are decimal or base64.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

import numpy as np
import openai
import pytest
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from numpy.typing import NDArray

from decant.embedders import HashEncoder, Role
from decant.embedders.encoding import cut
from decant.serving import ApiKeys, ServedModel, create_app
from instructed_encoder import InstructedEncoder
from served_app import Served, served

KEY = "a-key-of-some-length"
TEXTS = ["the ferry leaves at seven", "bread", "the ferry leaves at seven"]


@pytest.fixture(scope="module")
def server(full: InstructedEncoder, plain: HashEncoder) -> Iterator[Served]:
    """Serve a model with prompts and one without, for those that have a key."""
    models = [ServedModel(name="full", encoder=full), ServedModel(name="minilm", encoder=plain)]
    with served(create_app(models, keys=ApiKeys.of([KEY]))) as found:
        yield found


@pytest.fixture
def client(server: Served) -> Iterator[openai.OpenAI]:
    """Return openai's client."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as found:
        yield found


def same(found: Sequence[Sequence[float]], expected: NDArray[np.float32]) -> bool:
    """Return whether vectors are equal in every bit."""
    return np.array(found, np.float32).tobytes() == expected.tobytes()


@pytest.mark.parametrize("encoding", ["base64", "float", None])
@pytest.mark.parametrize("texts", [TEXTS, TEXTS[0]], ids=["list", "string"])
def test_openai_embeds_strings_and_lists(
    texts: str | list[str], encoding: str | None, client: openai.OpenAI, plain: HashEncoder
) -> None:
    options = {} if encoding is None else {"encoding_format": encoding}
    answer = client.embeddings.create(model="minilm", input=texts, **options)  # type: ignore[arg-type]
    if encoding == "base64":  # the client decodes what it asked for itself, and that alone
        rows = [np.frombuffer(one, "<f4").tolist() for one in decoded(answer.data)]
    else:
        rows = [one.embedding for one in answer.data]
    given = [texts] if isinstance(texts, str) else texts
    assert same(rows, plain.encode(given, role=Role.QUERY).dense)
    assert [one.index for one in answer.data] == [*range(len(given))]
    assert answer.usage.prompt_tokens == sum(len(text.split()) for text in {*given})


def decoded(data: Sequence[openai.types.Embedding]) -> Iterator[bytes]:
    """Yield the bytes of vectors that are written in base64."""
    for one in data:
        yield base64.b64decode(vars(one)["embedding"])  # its type knows lists alone


def test_openai_cuts_vectors_and_says_the_role(
    client: openai.OpenAI, full: InstructedEncoder
) -> None:
    by_name = client.embeddings.create(model="full:query", input=TEXTS, dimensions=4)
    by_field = client.embeddings.create(
        model="full", input=TEXTS, dimensions=4, extra_body={"input_type": "query"}
    )
    expected = cut(full.encode(TEXTS, role=Role.QUERY).dense, dim=4, normalize=True)
    assert same([one.embedding for one in by_name.data], expected)
    assert same([one.embedding for one in by_field.data], expected)


def test_openai_lists_the_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["full", "minilm"]


def test_errors_are_those_of_openais_client_with_our_message(
    client: openai.OpenAI, server: Served
) -> None:
    with pytest.raises(openai.BadRequestError, match="there is no model 'gpt' here; there are"):
        client.embeddings.create(model="gpt", input=TEXTS)
    with pytest.raises(openai.BadRequestError, match="gives vectors of 8 values") as refusal:
        client.embeddings.create(model="full:query", input=TEXTS, dimensions=3)
    assert refusal.value.type == "invalid_request_error"
    with pytest.raises(openai.APIStatusError, match="has 10,001 texts, and at most 10,000"):
        client.embeddings.create(model="minilm", input=["a"] * 10_001)
    with pytest.raises(openai.AuthenticationError, match="the API key is wrong; send it as"):
        client.with_options(api_key="another-key-of-some-length").models.list()
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="minilm", prompt="a")


def test_token_arrays_are_refused_with_the_option_that_sends_texts(client: openai.OpenAI) -> None:
    tokens = [[101, 7592, 102], [101, 102]]
    option = r"OpenAIEmbeddings\(check_embedding_ctx_length=False\)"
    for given in (tokens, tokens[0]):
        with pytest.raises(openai.BadRequestError, match=option):
            client.embeddings.create(model="minilm", input=given)


def test_langchains_client_embeds_documents_and_queries(
    server: Served, full: InstructedEncoder
) -> None:
    documents, queries = (langchain(server, f"full:{role}") for role in (Role.PASSAGE, Role.QUERY))
    expected = [full.encode(TEXTS, role=role).dense for role in (Role.PASSAGE, Role.QUERY)]
    assert same(documents.embed_documents(TEXTS), expected[0])
    assert same([queries.embed_query(text) for text in TEXTS], expected[1])


def langchain(
    server: Served, model: str, connections: openai.DefaultAsyncHttpxClient | None = None
) -> OpenAIEmbeddings:
    """Return LangChain's client, with the option that makes it send texts."""
    return OpenAIEmbeddings(
        model=model,
        base_url=f"{server.url}/v1",
        api_key=KEY,  # type: ignore[arg-type]
        check_embedding_ctx_length=False,
        chunk_size=2,
        http_async_client=connections,
    )


async def test_langchains_client_embeds_in_coroutines(server: Served, plain: HashEncoder) -> None:
    # A client of the test's own, which is closed before the event loop is.
    async with openai.DefaultAsyncHttpxClient() as connections:
        client = langchain(server, "minilm", connections)
        found = await client.aembed_documents(TEXTS)
    assert same(found, plain.encode(TEXTS, role=Role.PASSAGE).dense)


def test_llama_indexs_openai_client_embeds_texts_and_queries(
    server: Served, full: InstructedEncoder
) -> None:
    for role in Role:
        client = OpenAILikeEmbedding(
            model_name=f"full:{role}", api_base=f"{server.url}/v1", api_key=KEY, max_retries=0
        )
        expected = full.encode(TEXTS, role=role).dense
        assert same(client.get_text_embedding_batch(TEXTS), expected)
        assert same([client.get_query_embedding(text) for text in TEXTS], expected)


async def test_llama_indexs_tei_client_embeds_texts_and_queries(
    server: Served, full: InstructedEncoder
) -> None:
    for role in Role:
        # A model's name that the client does not know gets no instruction from it.
        client = TextEmbeddingsInference(
            model_name="decant", base_url=f"{server.url}/models/full:{role}", auth_token=KEY
        )
        expected = full.encode(TEXTS, role=role).dense
        assert same(client.get_text_embedding_batch(TEXTS), expected)
        assert same([client.get_query_embedding(text) for text in TEXTS], expected)
        assert same(await client.aget_text_embedding_batch(TEXTS), expected)
