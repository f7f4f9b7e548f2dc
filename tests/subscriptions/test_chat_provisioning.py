"""New rooms are reviewed and logged as the settings say."""

import pytest

from tests.chatting import open_room
from tests.client import Client
from tests.conftest import Emulator, Running, StartServer

HANDLER = "arn:aws:lambda:us-east-1:123456789012:function:chat-review"


@pytest.fixture(scope="module")
async def logging_arn(running: Running) -> str:
    created = await running.runtime.aws._clients["ivschat"].create_logging_configuration(
        destinationConfiguration={"cloudWatchLogs": {"logGroupName": "chat"}}
    )
    arn: str = created["arn"]
    return arn


async def created_with(emulator: Emulator, url: str, server: Running) -> dict[str, object]:
    client = Client(url)
    room = await open_room(client, server.runtime)
    await client.aclose()
    (call,) = [
        call["params"]
        for call in await emulator.calls("CreateRoom")
        if call["params"]["tags"]["streamcat:username"] == room.owner.username
    ]
    return {name: value for name, value in call.items() if name not in ("name", "tags")}


@pytest.mark.parametrize("fallback", ["deny", "allow"])
async def test_rooms_are_made_as_configured(
    start_server: StartServer, emulator: Emulator, logging_arn: str, fallback: str
) -> None:
    async with start_server(
        chat_review_handler_arn=HANDLER,
        chat_review_fallback=fallback,
        chat_logging_configuration_arn=logging_arn,
    ) as server:
        assert await created_with(emulator, server.url, server) == {
            "messageReviewHandler": {"uri": HANDLER, "fallbackResult": fallback.upper()},
            "loggingConfigurationIdentifiers": [logging_arn],
        }


async def test_rooms_are_plain_without_settings(running: Running, emulator: Emulator) -> None:
    assert await created_with(emulator, running.url, running) == {}


async def test_the_fallback_is_to_deny(start_server: StartServer, emulator: Emulator) -> None:
    async with start_server(chat_review_handler_arn=HANDLER) as server:
        made = await created_with(emulator, server.url, server)
    assert made == {"messageReviewHandler": {"uri": HANDLER, "fallbackResult": "DENY"}}
