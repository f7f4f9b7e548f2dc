"""Stands for the socket of Amazon IVS Chat, which the emulator lacks: what the SDK needs, for one client in a room.

Source: IVS Chat Messaging API reference.
"""

import json
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Self

import httpx
from websockets.sync.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol


class ChatSocket:
    """Lets in who has a token of the emulator, once, and gives each message back to its sender."""

    def __init__(self) -> None:
        self.emulator_url = ""
        self._server: Server | None = None

    def __enter__(self) -> Self:
        self._server = serve(self._talk, "127.0.0.1", 0, select_subprotocol=_first)
        threading.Thread(target=self._server.serve_forever, name="chat-socket", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def _talk(self, connection: ServerConnection) -> None:
        check = {"token": connection.subprotocol, "use": True}
        answer = httpx.post(f"{self.emulator_url}/_emulator/tokens/check", json=check)
        if not answer.is_success:
            connection.close(4403)
            return
        claims = answer.json()["claims"]
        for text in connection:
            request = json.loads(text)
            assert request["Action"] == "SEND_MESSAGE", request
            assert "SEND_MESSAGE" in claims["capabilities"], claims
            said = {
                "roomArn": claims["resource"],
                "userId": claims["user_id"],
                "attributes": claims["attributes"],
                "content": request["Content"],
                "requestId": request["RequestId"],
            }
            logged = httpx.post(f"{self.emulator_url}/_emulator/chat/messages", json=said).raise_for_status().json()
            message = {
                "Type": "MESSAGE",
                "Id": logged["messageId"],
                "RequestId": request["RequestId"],
                "Content": request["Content"],
                "Attributes": {},
                "SendTime": datetime.now(UTC).isoformat(),
                "Sender": {"UserId": claims["user_id"], "Attributes": claims["attributes"]},
            }
            connection.send(json.dumps(message))


def _first(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    # Amazon takes the token as the name of the protocol, and repeats it.
    return offered[0] if offered else None
