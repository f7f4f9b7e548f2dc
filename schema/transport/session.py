"""The end of a session, for clients that stay connected."""

import asyncio
from datetime import UTC, datetime

from resolvers import auth
from resolvers.context import Services, Viewer
from schema.transport.graphql_ws import Close, close_for
from subscriptions import topics


async def session_over(services: Services, viewer: Viewer) -> None:
    """Return when the viewer's session ends, by sign-out or by time.

    Raises:
        Close: 1012 when the server stops; 1013 or 4500 when it cannot be told whether the session holds.
    """
    with services.hub.listen(topics.session(viewer.session_id)) as listener:
        changes = listener.changes()
        while True:
            left = (viewer.expires_at - datetime.now(UTC)).total_seconds()
            try:
                async with asyncio.timeout(max(left, 0)):
                    await anext(changes)
            except TimeoutError:
                return
            except StopAsyncIteration:
                raise Close(1012, "Service restart") from None
            if not await _holds(services, viewer):
                return


async def _holds(services: Services, viewer: Viewer) -> bool:
    try:
        return await auth.session_exists(services.read_sessions, viewer.session_id)
    except Exception as error:
        raise close_for(error, "the session's end") from error
