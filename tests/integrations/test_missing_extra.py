"""Without a framework installed, its classes say which extra brings it."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from decant.embedders import MissingExtra
from decant.integrations import langchain, llama_index, sentence_transformers

PACKAGES = [langchain, llama_index, sentence_transformers]


@pytest.mark.parametrize(
    ("package", "name", "absent", "line"),
    [
        (langchain, "DecantVectorStore", "langchain_core", "decant-qdrant[langchain]"),
        (
            langchain,
            "DecantSparseEmbeddings",
            "langchain_qdrant",
            "decant-qdrant[langchain-qdrant]",
        ),
        (llama_index, "DecantVectorStore", "llama_index.core", "decant-qdrant[llama-index]"),
        (
            sentence_transformers,
            "BundleModule",
            "sentence_transformers",
            "decant-qdrant[sentence-transformers]",
        ),
    ],
    ids=["langchain", "langchain_qdrant", "llama_index", "sentence_transformers"],
)
def test_a_missing_framework_is_named_with_the_pip_line(
    monkeypatch: pytest.MonkeyPatch, package: ModuleType, name: str, absent: str, line: str
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    monkeypatch.delitem(vars(package), name, raising=False)
    with pytest.raises(MissingExtra) as caught:
        getattr(package, name)
    assert f"pip install '{line}'" in str(caught.value)


@pytest.mark.parametrize("package", PACKAGES, ids=["langchain", "llama_index", "st"])
def test_what_a_package_lists_it_has(package: ModuleType) -> None:
    assert package.__all__
    assert set(package.__all__) <= set(dir(package))
    assert all(isinstance(getattr(package, name), type) for name in package.__all__)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = package.nothing_like_it
