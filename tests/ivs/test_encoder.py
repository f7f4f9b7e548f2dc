"""The simulated encoder against the running emulator."""

import asyncio
import socket

import pytest

from ivs.encoder import EncoderError, broadcast
from tests.ivs.account import DEADLINE, REGION, Account, names


def quiet(_sentence: str) -> None:
    pass


async def play(account: Account, username: str, **options: object) -> str:
    return await broadcast(
        account.url, username, region=REGION, **{"say": quiet, "minutes": 0.005, "interval": 0.05, **options}
    )


def streamer(account: Account, username: str) -> str:
    return account.channel(
        name=username, tags={"streamcat:username": username}, recordingConfigurationArn=account.recording()
    )


async def wait_until_live(account: Account, channel: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while [s["channelArn"] for s in (await asyncio.to_thread(account.ivs.list_streams))["streams"]] != [channel]:
            pass


async def test_a_whole_broadcast_in_order(account: Account) -> None:
    for n in range(3):
        streamer(account, f"other{n}")
    channel = streamer(account, "Ada")
    queue, said = account.listen(), []
    stream = await play(account, "aDA", viewers=40, say=said.append)
    events = account.received(queue, 8)
    assert names(events) == [
        "Session Created",
        "Stream Start",
        "Recording Start",
        "Starvation Start",
        "Starvation End",
        "Stream End",
        "Session Ended",
        "Recording End",
    ]
    assert {event["detail"]["stream_id"] for event in events} == {stream}
    assert {event["resources"][0] for event in events} == {channel}
    assert said[0] == f"aDA's encoder is connected ({stream})."
    assert said[1] == "Live for 0.005 minutes, with up to 40 viewers. Ctrl-C ends it."
    assert said[-1] == "aDA's stream has ended."
    assert 36 <= account.door("GET", f"broadcasts/{stream}")[1]["viewerCount"] <= 40


async def test_an_interrupted_broadcast_ends_cleanly(account: Account) -> None:
    channel = streamer(account, "ada")
    queue, said = account.listen(), []
    task = asyncio.create_task(play(account, "ada", minutes=10, say=said.append))
    await wait_until_live(account, channel)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert said[-1] == "ada's stream was interrupted and has ended."
    assert account.ivs.list_streams()["streams"] == []
    ended = [name for name in names(account.received(queue, 6)) if not name.startswith("Starvation")]
    assert ended == [
        "Session Created",
        "Stream Start",
        "Recording Start",
        "Stream End",
        "Session Ended",
        "Recording End",
    ]


async def test_a_stream_stopped_from_outside_ends_the_encoder(account: Account) -> None:
    channel, said = streamer(account, "ada"), []
    task = asyncio.create_task(play(account, "ada", minutes=10, say=said.append))
    await wait_until_live(account, channel)
    await asyncio.to_thread(account.ivs.stop_stream, channelArn=channel)
    await task
    assert said[-1] == "ada's stream was stopped from outside."


async def test_an_encoder_outlives_the_emulators_patience(account: Account) -> None:
    streamer(account, "ada")
    account.do("settings", silenceSeconds=0.6)
    said = []
    await play(account, "ada", minutes=0.015, interval=60, say=said.append)
    assert said[-1] == "ada's stream has ended."


async def test_refusals_are_one_sentence(account: Account) -> None:
    account.connect(streamer(account, "ada"))
    with pytest.raises(EncoderError, match=r"^Ada is already live\.$"):
        await play(account, "Ada")
    with pytest.raises(EncoderError, match=r"^The emulated AWS has no channel of a user bob\.$"):
        await play(account, "bob")
    keyless = streamer(account, "eve")
    account.ivs.delete_stream_key(arn=account.ivs.list_stream_keys(channelArn=keyless)["streamKeys"][0]["arn"])
    with pytest.raises(EncoderError, match=r"^The emulator refused the stream of eve: .* has no stream key"):
        await play(account, "eve")


async def test_an_absent_emulator_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(EncoderError, match=rf"^The emulator at http://127\.0\.0\.1:{port} cannot be reached\.$"):
        await broadcast(f"http://127.0.0.1:{port}", "ada", region=REGION, say=quiet)


async def test_viewers_say_something(account: Account) -> None:
    streamer(account, "ada")
    room = account.room(tags={"streamcat:username": "ada"}, loggingConfigurationIdentifiers=[account.logging()])
    await play(account, "ada")
    await play(account, "ada", viewers=0)
    said = account.client("logs").filter_log_events(logGroupName="chat")["events"]
    assert [one["logStreamName"].rpartition("_")[2] for one in said] == [room.rpartition("/")[2]] * 6
