"""The route of the HTTPS door: who is not admitted cannot make us read a body."""

from http import HTTPStatus
from typing import Any

from litestar import Request, Response, post
from litestar.exceptions import ClientException, InternalServerException
from litestar.handlers import HTTPRouteHandler
from litestar.status_codes import HTTP_413_REQUEST_ENTITY_TOO_LARGE

from subscriptions.https import Answer, HttpsDoor

SECRET_HEADER = "x-events-secret"  # noqa: S105 - its name
_RETRY_SECONDS = 5


def events_route(door: HttpsDoor, *, max_bytes: int) -> HTTPRouteHandler:
    """Return the handler of `POST /events`, which takes one EventBridge envelope of at most `max_bytes`."""

    @post("/events", request_max_body_size=max_bytes)
    async def events(request: Request[Any, Any, Any]) -> Response[dict[str, str] | None]:
        if not door.admits(request.headers.get(SECRET_HEADER)):
            return _response(Answer(HTTPStatus.UNAUTHORIZED, f"{SECRET_HEADER} does not hold the secret."))
        try:
            body = await request.body()
        except ClientException as error:
            if error.status_code != HTTP_413_REQUEST_ENTITY_TOO_LARGE:
                raise
            door.refuse_size()
            sentence = f"The body is larger than {max_bytes} bytes."
            return _response(Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence))
        except InternalServerException:
            # Litestar's word for a client that left; it does not hear the answer.
            return _response(Answer(HTTPStatus.BAD_REQUEST, "The body ended before it was complete."))
        return _response(await door.take(body))

    return events


def _response(answer: Answer) -> Response[dict[str, str] | None]:
    headers = {"Retry-After": str(_RETRY_SECONDS)} if answer.status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    content = {"message": answer.sentence} if answer.sentence else None
    return Response(content, status_code=answer.status, headers=headers)
