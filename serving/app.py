"""The application: which route answers what, for whom, and how requests are counted.

CORS is off: no answer lets a page of another site read it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from decant.embedders.distribution import decant_version

from . import protocols
from .errors import ServerStopping
from .http import (
    JSON,
    ErrorForm,
    error_response,
    json_response,
    read_json,
    unless_gone,
    vectors_response,
)
from .keys import ApiKeys
from .metrics import ServerMetrics
from .models import (
    DescribedEncoder,
    Embeddings,
    EmbeddingService,
    ModelAddress,
    ModelDirectory,
    RerankService,
    ServedModel,
    ServedReranker,
    VectorKind,
    describe_encoder,
)
from .openapi import openapi_document
from .rerank_routes import RerankRoutes
from .route_guard import RouteGuard
from .settings import ServerSettings

_NPZ = "application/zip"  # what an .npz is
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def create_app(
    models: Sequence[ServedModel | ServedReranker],
    *,
    settings: ServerSettings | None = None,
    keys: ApiKeys | None = None,
    collections: Mapping[str, str] | None = None,
) -> Starlette:
    """Return the ASGI application that serves some models.

    Its lifespan starts the workers of the models, and at the end answers what was accepted. The
    encoders and rerankers stay the caller's to close.

    Args:
        models: At least one encoder or reranker; their names differ.
        settings: How much it takes; None: the defaults.
        keys: The API keys that it takes; None: it asks for none.
        collections: Collections of a Qdrant server that these models serve, for metrics: the name
            of the model by the name of the collection.

    Raises:
        SettingsError: There is no model, or two have one name.
    """
    settings = settings or ServerSettings()
    metrics = ServerMetrics()
    metrics.show_collections(collections or {})
    directory = ModelDirectory(models)
    service = EmbeddingService(
        directory, queue=settings.queue, limits=settings.limits, on_pass=metrics.count_pass
    )
    reranking = RerankService(
        directory, queue=settings.queue, limits=settings.limits, on_pass=metrics.count_pass
    )
    guard = RouteGuard(keys=keys or ApiKeys(), metrics=metrics)
    routes = _Routes(service=service, reranking=reranking, settings=settings, guard=guard)
    of_rerankers = RerankRoutes(models=directory, service=reranking, settings=settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with service, reranking:
            metrics.watch(service.workers)
            metrics.watch(reranking.workers)
            yield

    return Starlette(
        routes=[*routes.all(), *of_rerankers.all(guard)],
        lifespan=lifespan,
        exception_handlers={HTTPException: _unknown_route},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Routes:
    """The handlers of all routes, and what they share."""

    service: EmbeddingService
    reranking: RerankService
    settings: ServerSettings
    guard: RouteGuard
    described: dict[str, DescribedEncoder] = field(default_factory=dict)

    def all(self) -> list[Route]:
        """Return every route of encoders, and those of the server."""
        qdrant, openai, tei, own = (
            ErrorForm.QDRANT,
            ErrorForm.OPENAI,
            ErrorForm.TEI,
            ErrorForm.DECANT,
        )
        guarded, of_a_model = self.guard.guarded, self.guard.of_a_model
        return [
            Route("/infer", guarded(self.infer, qdrant, "/infer"), methods=["POST"]),
            Route(
                "/v1/embeddings",
                guarded(self.embeddings, openai, "/v1/embeddings", key=True),
                methods=["POST"],
            ),
            Route("/v1/models", guarded(self.models, openai, "/v1/models", key=True)),
            Route("/metrics", guarded(self.show_metrics, qdrant, "/metrics", key=True)),
            Route("/health", guarded(self.health, qdrant, "/health")),
            Route("/ready", guarded(self.ready, qdrant, "/ready")),
            Route("/openapi.json", guarded(self.openapi, qdrant, "/openapi.json")),
            *of_a_model("/embed", self.embed, "POST", tei),
            *of_a_model("/embed_sparse", self.embed_sparse, "POST", tei),
            *of_a_model("/info", self.info, "GET", tei),
            *of_a_model("/encoder", self.encoder, "GET", own),
            *of_a_model("/tokenizer.json", self.tokenizer, "GET", own),
            *of_a_model("/encode", self.encode, "POST", own),
        ]

    async def infer(self, request: Request) -> Response:
        """Answer Qdrant's inference client; it sends its key in a header or in the body."""
        headers = (request.headers.get("authorization"), request.headers.get("x-api-key"))
        is_known = self.guard.keys.has(*headers)

        def read(data: object) -> protocols.InferenceRequest:
            if not is_known:
                self.guard.keys.check(*headers, protocols.read_token(data))
            return protocols.read_inference(data, self.service.models)

        asked = await read_json(request, self.settings, read)
        found = await unless_gone(request, self.service.embed(asked.wanted))
        self.guard.metrics.count_inputs(asked.wanted)
        return await vectors_response(
            lambda: protocols.inference_answer(found), numbers=found.numbers
        )

    async def embeddings(self, request: Request) -> Response:
        """Answer a client of OpenAI's embeddings."""
        asked = await read_json(
            request,
            self.settings,
            lambda data: protocols.read_embeddings_request(data, self.service.models),
        )
        found = await unless_gone(request, self.service.embed(asked.wanted))
        return await vectors_response(
            lambda: protocols.embeddings_answer(asked, found), numbers=found.numbers
        )

    async def models(self, _: Request) -> Response:
        """List the models."""
        return json_response(protocols.models_answer(self.service.models))

    async def embed(self, request: Request) -> Response:
        """Answer a client of TEI with dense vectors."""
        found = await self._embedded(request, VectorKind.DENSE)
        return await vectors_response(lambda: protocols.embed_answer(found), numbers=found.numbers)

    async def embed_sparse(self, request: Request) -> Response:
        """Answer a client of TEI with sparse vectors."""
        found = await self._embedded(request, VectorKind.SPARSE)
        return await vectors_response(
            lambda: protocols.embed_sparse_answer(found), numbers=found.numbers
        )

    async def info(self, request: Request) -> Response:
        """Tell a client of TEI about the model."""
        name, models = request.path_params.get("model"), self.service.models
        found = models.only_of_all() if name is None else models.find_any(str(name))
        model = found if isinstance(found, ServedReranker) else found.model
        info = protocols.ServerInfo(
            version=decant_version(),
            limits=self.settings.limits,
            pass_tokens=self.settings.queue.pass_tokens or model.pass_tokens,
        )
        return json_response(protocols.info_answer(found, info))

    async def encoder(self, request: Request) -> Response:
        """Tell the client of a remote encoder about the model."""
        described = await self._described(request)
        return json_response(protocols.facts_answer(described.facts))

    async def tokenizer(self, request: Request) -> Response:
        """Send the tokenizer of a model to the client of a remote encoder."""
        described = await self._described(request)
        tag = f'"{described.facts.tokenizer}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return Response(described.tokenizer, media_type=JSON, headers={"ETag": tag})

    async def encode(self, request: Request) -> Response:
        """Answer the client of a remote encoder with vectors."""
        asked = await read_json(request, self.settings, protocols.read_encode_request)
        described = await self._described(request)
        asked.check_model(described.facts)
        model = self._address(request).model
        work = self.service.encode(model, asked.texts, asked.key, first=asked.first)
        found = await unless_gone(request, work)
        content = await asyncio.to_thread(protocols.encode_answer, found)
        return Response(content, media_type=_NPZ)

    async def show_metrics(self, _: Request) -> Response:
        """Show the metrics in Prometheus' text format."""
        return Response(self.guard.metrics.shown(), media_type=_PROMETHEUS)

    async def health(self, _: Request) -> Response:
        """Say that the process answers."""
        return PlainTextResponse("ok")

    async def ready(self, _: Request) -> Response:
        """Say whether every model takes texts."""
        if not (self.service.workers.is_ready and self.reranking.workers.is_ready):
            raise ServerStopping("the server does not take texts")
        return PlainTextResponse("ready")

    async def openapi(self, _: Request) -> Response:
        """Describe the routes."""
        return json_response(openapi_document(decant_version()))

    async def _described(self, request: Request) -> DescribedEncoder:
        """Return what clients know of a model; it is found once, when the first client asks."""
        model = protocols.whole_model(self._address(request)).model
        if model.name not in self.described:
            limits = self.settings.limits_of(model.pass_tokens)
            self.described[model.name] = await asyncio.to_thread(describe_encoder, model, limits)
        return self.described[model.name]

    async def _embedded(self, request: Request, kind: VectorKind) -> Embeddings:
        address = self._address(request)
        wanted = await read_json(
            request,
            self.settings,
            lambda data: protocols.read_embed_request(data, address, kind),
        )
        return await unless_gone(request, self.service.embed(wanted))

    def _address(self, request: Request) -> ModelAddress:
        name = request.path_params.get("model")
        models = self.service.models
        return models.only() if name is None else models.find(str(name))


async def _unknown_route(_: Request, error: Exception) -> Response:
    return error_response(error, ErrorForm.QDRANT)
