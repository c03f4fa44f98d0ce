"""The double over gRPC: each call becomes the request of REST that means the same.

Messages are converted by qdrant-client, so what decant sends is read as a client of a server reads
it. Faults, keys, strict mode and what was asked are those of the double; only the largest body is
not limited, as on a server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from pydantic import BaseModel
from qdrant_client import grpc as wire
from qdrant_client import models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.grpc import collections_service_pb2_grpc as collections_service
from qdrant_client.grpc import points_service_pb2_grpc as points_service
from qdrant_client.grpc import qdrant_pb2_grpc as root_service

from .server import QdrantDouble

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}


@contextmanager
def grpc_front(double: QdrantDouble, *, port: int = 0) -> Iterator[int]:
    """Yield the port at which a double speaks gRPC; clients before 1.20 convert less than that."""
    if not hasattr(models, "TextQuery"):
        pytest.skip("this qdrant-client does not convert all that a double of gRPC needs")
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    front = _Front(double)
    root_service.add_QdrantServicer_to_server(front.root(), server)  # type: ignore[no-untyped-call]
    for add, service, calls in (
        (collections_service.add_CollectionsServicer_to_server,
         collections_service.CollectionsServicer(), front.collections()),
        (points_service.add_PointsServicer_to_server,
         points_service.PointsServicer(), front.points()),
    ):  # fmt: skip
        for name, call in calls.items():
            setattr(service, name, front.answering(call))
        add(service, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


_Ask = Callable[..., Any]
_Call = Callable[[Any, _Ask], Any]


class _Front:
    def __init__(self, double: QdrantDouble) -> None:
        self._double = double

    def answering(self, call: _Call) -> Callable[[Any, Any], Any]:
        """Return a method of a service, which carries out a call."""

        def answer(request: Any, context: Any) -> Any:
            headers = dict(context.invocation_metadata())

            def ask(method: str, path: str, body: object = None) -> Any:
                data = b"" if body is None else json.dumps(body).encode()
                answer = self._double.answer(
                    method,
                    path,
                    data,
                    headers.get("api-key"),
                    is_limited=False,
                    trace=headers.get("traceparent"),
                )
                if answer is None:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
                    raise AssertionError
                if answer.status == 200:
                    return json.loads(answer.body)["result"]
                is_json = answer.body.startswith(b"{")
                said = json.loads(answer.body)["status"]["error"] if is_json else answer.body
                if seconds := answer.headers.get("retry-after"):
                    context.set_trailing_metadata([("retry-after", seconds)])
                context.abort(_CODES[answer.status], said)
                raise AssertionError

            return call(request, ask)

        return answer

    def root(self) -> Any:
        """Return the service that tells the version."""
        root, double = root_service.QdrantServicer(), self._double

        def tell(_request: Any, _context: Any) -> Any:
            title = "qdrant - vector search engine"
            return wire.HealthCheckReply(title=title, version=double.version)

        setattr(root, "HealthCheck", tell)  # noqa: B010 (a plain assignment hides a method)
        return root

    def collections(self) -> dict[str, _Call]:
        """Return the calls about collections."""
        return {
            "List": _list,
            "Get": _get,
            "Create": lambda it, ask: _done(ask("PUT", _place(it), _created(it))),
            "Update": lambda it, ask: _done(ask("PATCH", _place(it), _updated(it))),
            "Delete": lambda it, ask: _done(ask("DELETE", _place(it))),
            "CollectionExists": _exists,
            "UpdateAliases": lambda it, ask: _done(ask("POST", "/collections/aliases", {
                "actions": [_dumped(GrpcToRest.convert_alias_operations(a)) for a in it.actions]})),
            "ListAliases": lambda _, ask: _aliases(ask("GET", "/aliases")),
            "CollectionClusterInfo": _cluster,
            "ListCollectionAliases": lambda it, ask: _aliases(ask("GET", _place(it, "/aliases"))),
        }  # fmt: skip

    def points(self) -> dict[str, _Call]:
        """Return the calls about points."""
        return {
            "Upsert": lambda it, ask: _changed(ask("PUT", _place(it, "/points"), _upserted(it))),
            "Delete": lambda it, ask: _changed(
                ask("POST", _place(it, "/points/delete"), _selected(it.points))),
            "SetPayload": lambda it, ask: _changed(
                ask("POST", _place(it, "/points/payload"), _payload_set(it))),
            "UpdateBatch": _update_batch,
            "CreateFieldIndex": lambda it, ask: _changed(ask("PUT", _place(it, "/index"), {
                "field_name": it.field_name, "field_schema": _schema(it)})),
            "DeleteFieldIndex": lambda it, ask: _changed(
                ask("DELETE", _place(it, f"/index/{it.field_name}"))),
            "Get": lambda it, ask: wire.GetResponse(result=_records(
                ask("POST", _place(it, "/points"), _wanted(it) | {"ids": [*map(_id, it.ids)]}))),
            "Scroll": _scroll,
            "Count": lambda it, ask: wire.CountResponse(result=wire.CountResult(**ask(
                "POST", _place(it, "/points/count"), _filtered(it) | {"exact": it.exact}))),
            "Query": lambda it, ask: wire.QueryResponse(
                result=_scored(ask("POST", _place(it, "/points/query"), _query(it)))),
            "QueryBatch": lambda it, ask: wire.QueryBatchResponse(result=[
                wire.BatchResult(result=_scored(found)) for found in ask(
                    "POST", _place(it, "/points/query/batch"),
                    {"searches": [*map(_query, it.query_points)]})]),
        }  # fmt: skip


def _place(request: Any, rest: str = "") -> str:
    return f"/collections/{request.collection_name}{rest}"


def _dumped(model: BaseModel) -> Any:
    return model.model_dump(mode="json", exclude_none=True)


def _id(identity: Any) -> Any:
    return GrpcToRest.convert_point_id(identity)


def _list(_request: Any, ask: _Ask) -> Any:
    held = ask("GET", "/collections")["collections"]
    return wire.ListCollectionsResponse(
        collections=[wire.CollectionDescription(name=item["name"]) for item in held]
    )


def _get(request: Any, ask: _Ask) -> Any:
    info = models.CollectionInfo.model_validate(ask("GET", _place(request)))
    return wire.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(info))


def _cluster(request: Any, ask: _Ask) -> Any:
    found = ask("GET", _place(request, "/cluster"))
    states = wire.ReplicaState
    return wire.CollectionClusterInfoResponse(
        peer_id=found["peer_id"],
        shard_count=found["shard_count"],
        local_shards=[
            wire.LocalShardInfo(**one | {"state": states.Value(one["state"])})
            for one in found["local_shards"]
        ],
        remote_shards=[
            wire.RemoteShardInfo(**one | {"state": states.Value(one["state"])})
            for one in found["remote_shards"]
        ],
    )


def _exists(request: Any, ask: _Ask) -> Any:
    exists = ask("GET", _place(request, "/exists"))["exists"]
    return wire.CollectionExistsResponse(result=wire.CollectionExists(exists=exists))


def _aliases(found: Any) -> Any:
    return wire.ListAliasesResponse(
        aliases=[wire.AliasDescription(**item) for item in found["aliases"]]
    )


def _done(result: bool) -> Any:
    return wire.CollectionOperationResponse(result=result)


def _created(request: Any) -> dict[str, Any]:
    body = _updated(request)
    if request.HasField("vectors_config"):
        given: Any = GrpcToRest.convert_vectors_config(request.vectors_config)
        body["vectors"] = {name: _dumped(params) for name, params in given.items()}
    if request.HasField("sparse_vectors_config"):
        sparse = GrpcToRest.convert_sparse_vector_config(request.sparse_vectors_config)
        body["sparse_vectors"] = {name: _dumped(params) for name, params in sparse.items()}
    return body


def _updated(request: Any) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if request.HasField("hnsw_config"):
        body["hnsw_config"] = _dumped(GrpcToRest.convert_hnsw_config_diff(request.hnsw_config))
    if request.HasField("strict_mode_config"):
        strict = GrpcToRest.convert_strict_mode_config(request.strict_mode_config)
        body["strict_mode_config"] = _dumped(strict)
    if request.metadata:
        body["metadata"] = GrpcToRest.convert_payload(request.metadata)
    return body


def _upserted(request: Any) -> dict[str, Any]:
    points = [GrpcToRest.convert_point_struct(point) for point in request.points]
    # The payload as it is: a value may be None.
    body: dict[str, Any] = {
        "points": [_dumped(point) | {"payload": point.payload or {}} for point in points]
    }
    if request.HasField("update_filter"):
        body["update_filter"] = _dumped(GrpcToRest.convert_filter(request.update_filter))
    return body


def _selected(selector: Any) -> Any:
    return _dumped(GrpcToRest.convert_points_selector(selector))


def _payload_set(request: Any) -> dict[str, Any]:
    payload = GrpcToRest.convert_payload(request.payload)
    selected: dict[str, Any] = _selected(request.points_selector)
    return selected | {"payload": payload}


def _update_batch(request: Any, ask: _Ask) -> Any:
    body = [_operation(item) for item in request.operations]
    done = ask("POST", _place(request, "/points/batch"), {"operations": body})
    return wire.UpdateBatchResponse(result=[_update_result(item) for item in done])


def _operation(operation: Any) -> dict[str, Any]:
    match operation.WhichOneof("operation"):
        case "set_payload":
            return {"set_payload": _payload_set(operation.set_payload)}
        case "upsert":
            return {"upsert": _upserted(operation.upsert)}
        case "delete_points":
            return {"delete": _selected(operation.delete_points.points)}
        case other:
            return {str(other): {}}


def _update_result(done: Any) -> Any:
    return wire.UpdateResult(operation_id=done["operation_id"], status=wire.UpdateStatus.Completed)


def _changed(done: Any) -> Any:
    return wire.PointsOperationResponse(result=_update_result(done))


def _schema(request: Any) -> Any:
    if request.HasField("field_index_params"):
        return _dumped(GrpcToRest.convert_payload_schema_params(request.field_index_params))
    return wire.FieldType.Name(request.field_type).removeprefix("FieldType").lower()


def _filtered(request: Any) -> dict[str, Any]:
    if not request.HasField("filter"):
        return {}
    return {"filter": _dumped(GrpcToRest.convert_filter(request.filter))}


def _wanted(request: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"with_payload": False}
    if request.HasField("with_payload"):
        payload = GrpcToRest.convert_with_payload_interface(request.with_payload)
        body["with_payload"] = _dumped(payload) if isinstance(payload, BaseModel) else payload
    if request.HasField("with_vectors"):
        body["with_vector"] = GrpcToRest.convert_with_vectors_selector(request.with_vectors)
    return body


def _query(request: Any) -> dict[str, Any]:
    body: dict[str, Any] = _dumped(GrpcToRest.convert_query_points(request))
    return body


def _records(found: Any) -> list[Any]:
    records = [models.Record.model_validate({"payload": {}} | item) for item in found]
    return [RestToGrpc.convert_record(record) for record in records]


def _scored(found: Any) -> list[Any]:
    points = [models.ScoredPoint.model_validate({"payload": {}} | it) for it in found["points"]]
    return [RestToGrpc.convert_scored_point(point) for point in points]


def _scroll(request: Any, ask: _Ask) -> Any:
    body = _wanted(request) | _filtered(request) | {"limit": request.limit}
    if request.HasField("offset"):
        body["offset"] = _id(request.offset)
    found = ask("POST", _place(request, "/points/scroll"), body)
    response = wire.ScrollResponse(result=_records(found["points"]))
    if (following := found["next_page_offset"]) is not None:
        response.next_page_offset.CopyFrom(RestToGrpc.convert_extended_point_id(following))
    return response
