"""What stores and what is made over them say of themselves: where they are, and no secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from decant.embedders import Encoder, HashEncoder
from decant.integrations.langchain import DecantEmbeddings
from decant.integrations.langchain import DecantVectorStore as LangChainStore
from decant.integrations.llama_index import DecantEmbedding
from decant.integrations.llama_index import DecantVectorStore as LlamaIndexStore
from decant.integrations.qdrant import Collection, RemoteStore, connect, read_documents
from decant.integrations.qdrant.server.capabilities import Server

MODEL = "'hash', recipe 'b083e2758b6c22da'"


def test_a_collection_says_its_name_its_store_and_its_model(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with connect(folder) as store:
        docs = Collection.create(store, "docs", HashEncoder(8))
        assert repr(store) == str(store) == f"EdgeStore({str(folder)!r})"
        shown = f"Collection('docs', EdgeStore({str(folder)!r}), {MODEL})"
        assert repr(docs) == shown
        for over in (LangChainStore(docs), LlamaIndexStore(docs)):
            assert repr(over) == str(over) == f"DecantVectorStore({shown})"
    assert repr(docs) == shown, "a closed store cannot be asked"


def test_a_store_on_a_server_shows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "_check_version", lambda *_: None)
    monkeypatch.setattr(Server, "_check_key", lambda *_: None)
    client = QdrantClient(url="https://host:6333", api_key="hush-hush", check_compatibility=False)
    with RemoteStore(Server(client)) as store:
        assert repr(store) == "RemoteStore('https://host:6333')"
    client.close()


@pytest.mark.parametrize("kind", [DecantEmbeddings, DecantEmbedding])
def test_embeddings_say_their_model(kind: type) -> None:
    encoder: Encoder = HashEncoder(8)
    made = kind(encoder=encoder)
    assert repr(made) == str(made) == f"{kind.__name__}({MODEL})"


def test_documents_say_where_they_are(tmp_path: Path) -> None:
    shown = repr(read_documents(tmp_path, root="notes"))
    assert shown == f"Documents({str(tmp_path.resolve())!r}, root='notes')"
