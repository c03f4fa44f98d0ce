"""A LlamaIndex postprocessor that keeps the nodes that a reranker finds best.

Its settings are serialised fields, as those of :class:`DecantEmbedding` are; the reranker itself is
a private attribute. Nodes are read with the metadata that embeddings read (``MetadataMode.EMBED``),
as LlamaIndex's own rerankers do, and are never changed: those that come back are new.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from decant.embedders import RecipeError, Reranker, RerankRecipe, load_reranker

from ..qdrant import run_in_thread
from ..text_ranks import rank_texts

_dispatcher = get_dispatcher(__name__)


class DecantRerank(BaseNodePostprocessor):
    """Keeps the ``top_n`` nodes that answer a query best, best first.

    A node's score is the reranker's. A copy, deep or not, shares the reranker. A saved one opens
    its bundle again, and refuses a changed recipe.

    Args:
        reranker: Computes the scores. None opens ``bundle``.
        bundle: The folder of a reranker's bundle, saved with the fields.
        provider: The provider for opening the bundle.
        precision: The precision for opening the bundle.
        recipe: A saved recipe as JSON, to compare with the reranker's.
        **fields: ``top_n``, ``instruction``, ``keep_retrieval_score``, and LlamaIndex's own
            ``callback_manager``.

    Raises:
        TypeError: There is neither a reranker nor a bundle.
        RecipeError: The reranker's recipe is not the saved one.

    >>> from decant.embedders import HashReranker
    >>> from llama_index.core.schema import NodeWithScore, TextNode
    >>> nodes = [NodeWithScore(node=TextNode(text=text)) for text in ("deep sea", "oaks grow")]
    >>> best = DecantRerank(reranker=HashReranker(), top_n=1)
    >>> best.postprocess_nodes(nodes, query_str="what do oaks do")[0].text
    'oaks grow'
    """

    bundle: str | None = Field(default=None, description="The bundle's folder, if there is one.")
    provider: str = Field(default="auto", description="The requested execution provider.")
    precision: str = Field(default="auto", description="The precision that runs.")
    recipe: str = Field(description="Everything that decides a score, as JSON.")
    model: str = Field(description="The model's name.")
    top_n: int = Field(default=2, description="Number of nodes to return.", ge=1)
    instruction: str | None = Field(
        default=None, description="The task, in place of the recipe's own."
    )
    keep_retrieval_score: bool = Field(
        default=False, description="Whether metadata keep the former score as retrieval_score."
    )
    _reranker: Reranker = PrivateAttr()

    # LlamaIndex restores components as cls(**fields), so this method takes the fields.
    def __init__(
        self,
        *,
        reranker: Reranker | None = None,
        bundle: str | None = None,
        provider: str = "auto",
        precision: str = "auto",
        recipe: str | None = None,
        **fields: object,
    ) -> None:
        opened = reranker or _opened(bundle, provider, precision)
        own = opened.recipe
        saved = None if recipe is None else RerankRecipe.from_json(recipe)
        if saved is not None and saved.digest() != own.digest():
            raise RecipeError(
                f"this postprocessor was saved with the recipe {saved.base} ({saved.digest()}), "
                f"but its reranker now has {own.base} ({own.digest()}), which gives other scores; "
                "make a new DecantRerank"
            )
        ours: dict[str, Any] = {
            "bundle": bundle,
            "provider": provider,
            "precision": str(getattr(opened, "precision", "fp32")),
            "recipe": own.to_json(),
        }
        super().__init__(**{"model": own.base, **fields, **ours})
        self._reranker = opened

    @classmethod
    def from_bundle(
        cls,
        path: str | Path,
        *,
        provider: str = "auto",
        precision: str = "auto",
        top_n: int = 2,
        instruction: str | None = None,
    ) -> Self:
        """Open a reranker's bundle and rerank with it.

        Args:
            path: The bundle's folder, or the address of a reranker that ``decant serve`` has.
            provider: The execution provider, for example ``"cuda"``; ``"auto"`` takes the best.
            precision: The precision of the graph; ``"auto"`` takes the best for the provider.
            top_n: How many nodes to return.
            instruction: The task, in place of the recipe's own.

        Raises:
            BundleError: The bundle is missing, damaged, or no reranker's.
            ProviderError: The provider is not the one that would run.
            ParityError: The graph is not certified on this provider.
        """
        return cls(
            bundle=str(path),
            provider=provider,
            precision=precision,
            top_n=top_n,
            instruction=instruction,
        )

    def __repr__(self) -> str:
        """Return the class, the model and the number of nodes."""
        return f"DecantRerank({self.model!r}, top_n={self.top_n})"

    __str__ = __repr__

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises this class."""
        return "DecantRerank"

    @property
    def reranker(self) -> Reranker:
        """What computes the scores."""
        return self._reranker

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a copy that shares the reranker."""
        return self.__copy__()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with which another process has an equal reranker."""
        state: dict[str, Any] = super().__getstate__()
        return {**state, "__pydantic_private__": None, "reranker": self._reranker}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore it; errors are raised, while the base class would hide them."""
        self.__init__(**state["__dict__"], reranker=state["reranker"])  # type: ignore[misc]

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("a reranker reads the query; give query_str= or query_bundle=")
        if not nodes:
            return []
        started = ReRankStartEvent(
            query=query_bundle, nodes=nodes, top_n=self.top_n, model_name=self.model
        )
        _dispatcher.event(started)
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self.model,
            EventPayload.QUERY_STR: query_bundle.query_str,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            found = self._best(nodes, query_bundle.query_str)
            event.on_end(payload={EventPayload.NODES: found})
        _dispatcher.event(ReRankEndEvent(nodes=found))
        return found

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return await run_in_thread(self._postprocess_nodes, nodes, query_bundle)

    def _best(self, nodes: list[NodeWithScore], query: str) -> list[NodeWithScore]:
        """Return the best nodes as new ones.

        Raises:
            TextError: A node has no text, or the query is empty or leaves no room for a passage.
            RecipeError: The reranker takes no instruction.
        """
        ranks = rank_texts(
            self._reranker,
            query,
            [one.node.get_content(metadata_mode=MetadataMode.EMBED) for one in nodes],
            names=[f"node {one.node.node_id}" for one in nodes],
            instruction=self.instruction,
            top_n=self.top_n,
        )
        return [self._scored(nodes[place], score) for place, score in ranks]

    def _scored(self, found: NodeWithScore, score: float) -> NodeWithScore:
        node = found.node
        if self.keep_retrieval_score:
            metadata = {**node.metadata, "retrieval_score": found.score}
            node = node.model_copy(update={"metadata": metadata})
        return NodeWithScore(node=node, score=score)


def _opened(bundle: str | None, provider: str, precision: str) -> Reranker:
    if bundle is None:
        raise TypeError(
            "DecantRerank needs a reranker, and one in memory is not part of the saved fields: use "
            "DecantRerank(reranker=...) or DecantRerank.from_bundle(folder), and "
            "DecantRerank.from_dict(saved, reranker=...) to restore"
        )
    return load_reranker(bundle, provider=provider, precision=precision)
