"""The routes of rerankers: those of TEI, of Cohere and Jina, and of decant's remote rerankers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from decant.embedders.remote import RerankerFacts

from . import protocols
from .http import ErrorForm, json_response, read_json, unless_gone, vectors_response
from .models import ModelDirectory, RerankService, ServedReranker, describe_reranker
from .route_guard import RouteGuard
from .settings import ServerSettings

_NPZ = "application/zip"  # what an .npz is
_VERSIONS = ("1", "2")
_NUMBERS_A_TEXT = 2  # its place and its score


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankRoutes:
    """The handlers of the routes of rerankers, and what they share.

    Args:
        models: The models of the server.
        service: Scores pairs.
        settings: How much the server takes.
        described: What clients know of each reranker, by its name; filled when one asks.
    """

    models: ModelDirectory
    service: RerankService
    settings: ServerSettings
    described: dict[str, RerankerFacts] = field(default_factory=dict)

    def all(self, guard: RouteGuard) -> list[Route]:
        """Return every route of rerankers."""
        cohere, tei, own = ErrorForm.COHERE, ErrorForm.TEI, ErrorForm.DECANT
        found = [
            *guard.of_a_model("/rerank", self.rerank, "POST", tei),
            *guard.of_a_model("/reranker", self.reranker, "GET", own),
            *guard.of_a_model("/score", self.score, "POST", own),
        ]
        for version in _VERSIONS:
            path = f"/v{version}/rerank"
            handler = guard.guarded(partial(self.documents, version), cohere, path, key=True)
            found.append(Route(path, handler, methods=["POST"]))
        return found

    async def documents(self, version: str, request: Request) -> Response:
        """Answer a client of Cohere or Jina."""
        asked = await read_json(
            request,
            self.settings,
            lambda data: protocols.read_documents_request(data, self.models),
        )
        found = await unless_gone(request, self.service.score(asked.wanted))
        return await vectors_response(
            lambda: protocols.documents_answer(asked, found, api_version=version),
            numbers=_NUMBERS_A_TEXT * len(found.raw),
        )

    async def rerank(self, request: Request) -> Response:
        """Answer a client of TEI with texts in the order of their scores."""
        model = self._model(request)
        asked = await read_json(
            request, self.settings, lambda data: protocols.read_rerank_request(data, model)
        )
        found = await unless_gone(request, self.service.score(asked.wanted))
        return await vectors_response(
            lambda: protocols.rerank_answer(asked, found),
            numbers=_NUMBERS_A_TEXT * len(found.raw),
        )

    async def reranker(self, request: Request) -> Response:
        """Tell the client of a remote reranker about the model."""
        facts = self._described(self._model(request))
        return json_response(protocols.reranker_answer(facts))

    async def score(self, request: Request) -> Response:
        """Answer the client of a remote reranker with raw scores."""
        asked = await read_json(request, self.settings, protocols.read_score_request)
        model = self._model(request)
        asked.check_model(self._described(model))
        found = await unless_gone(request, self.service.score(asked.of(model)))
        content = await asyncio.to_thread(protocols.score_answer, found)
        return Response(content, media_type=_NPZ)

    def _described(self, model: ServedReranker) -> RerankerFacts:
        if model.name not in self.described:
            limits = self.settings.limits_of(model.pass_tokens)
            self.described[model.name] = describe_reranker(model, limits)
        return self.described[model.name]

    def _model(self, request: Request) -> ServedReranker:
        name = request.path_params.get("model")
        models = self.models
        return models.only_reranker() if name is None else models.find_reranker(str(name))
