"""Without a framework installed, its classes say which extra brings it."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from decant.embedders import MissingExtra
from decant.integrations import langchain, llama_index


@pytest.mark.parametrize(
    ("package", "absent", "line"),
    [
        (langchain, "langchain_core", "pip install 'decant[langchain]'"),
        (llama_index, "llama_index.core", "pip install 'decant[llama-index]'"),
    ],
    ids=["langchain", "llama_index"],
)
def test_a_missing_framework_is_named_with_the_pip_line(
    monkeypatch: pytest.MonkeyPatch, package: ModuleType, absent: str, line: str
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    monkeypatch.delitem(vars(package), "DecantVectorStore", raising=False)
    with pytest.raises(MissingExtra) as caught:
        _ = package.DecantVectorStore
    assert line in str(caught.value)


@pytest.mark.parametrize("package", [langchain, llama_index], ids=["langchain", "llama_index"])
def test_what_a_package_lists_it_has(package: ModuleType) -> None:
    assert package.__all__
    assert set(package.__all__) <= set(dir(package))
    assert all(isinstance(getattr(package, name), type) for name in package.__all__)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = package.nothing_like_it
