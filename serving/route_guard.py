"""What every route does around its answer: keys before anything else, errors, counts and spans."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .http import ClientGone, ErrorForm, error_response
from .keys import ApiKeys
from .metrics import ServerMetrics
from .observed_request import observed_request

Handler = Callable[[Request], Awaitable[Response]]

_CLOSED_REQUEST = 499  # nobody reads it; nginx's number for a client that has gone, for metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteGuard:
    """Makes routes of handlers.

    Args:
        keys: The API keys that are taken.
        metrics: What counts requests.
    """

    keys: ApiKeys
    metrics: ServerMetrics

    def of_a_model(self, path: str, handler: Handler, method: str, form: ErrorForm) -> list[Route]:
        """Return the routes of one model: at the root, and below its name; they ask for a key.

        Args:
            path: Where it answers.
            handler: Answers a request.
            method: GET or POST.
            form: How its protocol writes errors.
        """
        guarded = self.guarded(handler, form, path, key=True)
        return [
            Route(path, guarded, methods=[method]),
            Route(f"/models/{{model:path}}{path}", guarded, methods=[method]),
        ]

    def guarded(
        self, handler: Handler, form: ErrorForm, route: str, *, key: bool = False
    ) -> Handler:
        """Return the handler with its errors answered and its requests counted.

        Args:
            handler: Answers a request.
            form: How its protocol writes errors.
            route: The route's name in the metrics.
            key: Whether a key is asked for before anything is read.
        """

        async def answer(request: Request) -> Response:
            with observed_request(request, route, self.metrics) as seen:
                try:
                    if key:
                        headers = request.headers
                        self.keys.check(headers.get("authorization"), headers.get("x-api-key"))
                    response = await handler(request)
                except ClientGone:
                    response = Response(status_code=_CLOSED_REQUEST)
                except Exception as error:  # noqa: BLE001 - every error has an answer
                    response = error_response(error, form)
                seen.answered(response.status_code)
                return response

        return answer
