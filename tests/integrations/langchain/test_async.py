"""The asynchronous methods of LangChain's vector store: nothing is lost, and nothing is blocked."""

from __future__ import annotations

import asyncio

from langchain_core.documents import Document

from decant.integrations.langchain import DecantVectorStore
from decant.integrations.qdrant import Collection, Store
from gated_encoder import GatedEncoder, through


async def test_concurrent_additions_lose_nothing(collection: Collection) -> None:
    made = DecantVectorStore(collection)
    await asyncio.gather(
        *(
            made.aadd_documents([Document(f"text {task} {number}") for number in range(50)])
            for task in range(4)
        )
    )
    assert collection.count() == 200
    assert len(await made.asimilarity_search("text 3 7", k=200)) == 200


async def test_the_asynchronous_methods_leave_the_event_loop_free(store: Store) -> None:
    """langchain-ai/langchain#32195 asks for an asynchronous client; here they run in threads."""
    encoder = GatedEncoder()
    made = DecantVectorStore(Collection.create(store, "gated", encoder))
    await through(encoder, made.aadd_texts(["an oak"], ids=["oak"]))
    (nearest,) = await through(encoder, made.asimilarity_search("an oak"))
    (varied,) = await through(encoder, made.amax_marginal_relevance_search("an oak"))
    assert nearest.id == varied.id == "oak"
    store.drop("gated")
