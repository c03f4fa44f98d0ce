"""Answer a question from your own texts with LangChain, over a collection in a folder.

Runs as it is, without a model, a server or a network: the encoder hashes words and the chat model
repeats what it is shown. For real use take the two lines in the comments instead.
"""

from __future__ import annotations

import tempfile

from langchain_core.documents import Document
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from decant.embedders import HashEncoder
from decant.integrations.langchain import DecantVectorStore
from decant.integrations.qdrant import Collection, Range, connect

PAGES = [
    Document("Oak trees grow slowly and become very old.", id="oak", metadata={"page": 1}),
    Document("Birch trees grow fast and love light.", id="birch", metadata={"page": 2}),
    Document("The sea is deep, and rivers flow to it.", id="sea", metadata={"page": 3}),
]
QUESTION = "which trees grow fast?"


def shown(documents: list[Document]) -> str:
    """Return the passages as the chat model sees them."""
    return "\n".join(f"[{document.id}] {document.page_content}" for document in documents)


def main() -> None:
    """Index, search with a filter, and answer."""
    encoder = HashEncoder()  # or: decant.embedders.load("minilm")
    with tempfile.TemporaryDirectory() as folder, connect(folder) as store:
        vectors = DecantVectorStore(Collection.create(store, "trees", encoder))
        vectors.add_documents(PAGES)

        for page, score in vectors.similarity_search_with_score(
            "trees", k=2, filter=Range("page", lte=2)
        ):
            print(f"{score:.3f}  {page.id}  {page.page_content}")

        retriever = vectors.as_retriever(search_type="mmr", search_kwargs={"k": 2, "fetch_k": 3})
        prompt = ChatPromptTemplate.from_template("Answer from:\n{context}\n\n{question}")
        # or: langchain.chat_models.init_chat_model("…")
        chat = GenericFakeChatModel(messages=iter([AIMessage("Birch trees grow fast [birch].")]))
        chain = (
            {"context": retriever | RunnableLambda(shown), "question": RunnablePassthrough()}
            | prompt
            | chat
            | StrOutputParser()
        )
        print(chain.invoke(QUESTION))


if __name__ == "__main__":
    main()
