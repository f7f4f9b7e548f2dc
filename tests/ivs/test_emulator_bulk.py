"""The control door's way to make the resources of many owners at once."""

from typing import Any

from tests.ivs.account import REGION, Account

START = "2026-01-01T10:00:00Z"


def owner(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "tags": {"streamcat:username": name}, **more}


def test_owners_have_ordinary_resources(account: Account) -> None:
    made = account.do("owners", region=REGION, owners=[owner("ada"), owner("bob", channel={"type": "ADVANCED_HD"})])
    ada, bob = made["owners"]
    assert [one["name"] for one in account.ivs.list_channels()["channels"]] == ["ada", "bob"]
    channel = account.ivs.get_channel(arn=bob["channel"]["arn"])["channel"]
    assert (channel["type"], channel["tags"]) == ("ADVANCED_HD", {"streamcat:username": "bob"})
    key = account.ivs.get_stream_key(arn=ada["streamKey"]["arn"])["streamKey"]
    assert (key["value"], key["channelArn"]) == (ada["streamKey"]["value"], ada["channel"]["arn"])
    assert account.chat.get_room(identifier=ada["room"]["arn"])["name"] == "ada"
    assert account.realtime.get_stage(arn=ada["stage"]["arn"])["stage"]["name"] == "ada"
    assert ada["streamId"] is None


def test_what_is_live_stays_so_until_it_is_stopped_and_told_nobody(account: Account) -> None:
    queue = account.listen()
    account.do("settings", silenceSeconds=0)
    live = {"startTime": START, "health": "STARVING", "viewerCount": 9}
    (made,) = account.do("owners", region=REGION, owners=[owner("ada", live=live)])["owners"]
    arn = made["channel"]["arn"]
    # The sweeper ends what is silent, and ends this one first.
    silent = account.go_live(account.channel(name="silent"))
    assert [one["detail"]["stream_id"] for one in account.received(queue, 5)] == [silent] * 5
    stream = account.ivs.get_stream(channelArn=arn)["stream"]
    assert (stream["streamId"], stream["health"], stream["viewerCount"]) == (made["streamId"], "STARVING", 9)
    assert stream["startTime"].strftime("%Y-%m-%dT%H:%M:%SZ") == START
    account.ivs.stop_stream(channelArn=arn)
    assert {one["detail"]["stream_id"] for one in account.received(queue, 2)} == {made["streamId"]}


def test_who_is_on_a_stage_has_been_there_and_nobody_was_told(account: Account) -> None:
    queue = account.listen()
    tokens = [
        {"userId": "guest", "since": START, "duration": 9},
        {"userId": "late", "attributes": {"username": "late"}},
    ]
    on_stage = {"userId": "ada", "attributes": {"username": "ada"}, "since": START}
    wanted = [owner("ada", tokens=tokens, onStage=on_stage), owner("bob", tokens=tokens[1:])]
    ada, bob = account.do("owners", region=REGION, owners=wanted)["owners"]
    assert [one["userId"] for one in ada["participantTokens"]] == ["guest", "late"]
    assert (bob["hostId"], bob["stage"]["activeSessionId"]) == (None, "")
    stage = account.realtime.get_stage(arn=ada["stage"]["arn"])["stage"]
    assert stage["activeSessionId"] == ada["stage"]["activeSessionId"] != ""
    of_session = {"stageArn": stage["arn"], "sessionId": stage["activeSessionId"]}
    session = account.realtime.get_stage_session(**of_session)["stageSession"]
    assert session["startTime"].strftime("%Y-%m-%dT%H:%M:%SZ") == START
    there = account.realtime.list_participants(**of_session)["participants"]
    ids = {one["participantId"]: (one["userId"], one["state"], one["published"]) for one in there}
    guest = ada["participantTokens"][0]["participantId"]
    assert ids == {ada["hostId"]: ("ada", "CONNECTED", True), guest: ("guest", "CONNECTED", True)}
    account.realtime.disconnect_participant(stageArn=stage["arn"], participantId=guest)
    (told,) = account.received(queue, 1)
    assert (told["detail"]["event_name"], told["detail"]["participant_id"]) == ("Participant Unpublished", guest)


def test_quotas_grow_by_what_is_made(account: Account) -> None:
    account.do("settings", quotas={"channel": 1, "stream": 1})
    account.do("owners", region=REGION, owners=[owner(f"o{number}", live={"startTime": START}) for number in range(3)])
    channel = account.channel(name="one-more")
    assert account.refused("ivs", "CreateChannel") == ("ServiceQuotaExceededException", 402)
    account.connect(channel)


def test_all_or_none(account: Account) -> None:
    status, answer = account.door("POST", "owners", region=REGION, owners=[owner("ada"), {"tags": {}}])
    assert (status, answer["error"]) == (400, "The owners cannot be created: 'name'.")
    assert account.ivs.list_channels()["channels"] == []
    assert account.door("POST", "owners", owners=[])[0] == 400
