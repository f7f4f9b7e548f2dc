"""`seed`: what it adds is like what people have made, on the emulated AWS too; the real one it does not touch."""

import base64
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.program import Served, ask, run
from tests.waiting import until

PASSWORD = "streamcat-demo"
PEOPLE = """
query People($isLive: Boolean!) {
  channels(first: 5, orderBy: FOLLOWERS, filter: { isLive: $isLive }) {
    nodes { id name title isLive provisioning followerCount currentStream { state } owner { username } }
  }
}
"""
SIGN_IN = """
mutation ($input: SessionCreateInput!) { sessionCreate(input: $input) { token errors { __typename } } }
"""
AUDIENCE = """
{
  viewer {
    channel {
      broadcast { type }
      currentStream { peakViewerCount metrics(first: 1) { nodes { quality } } analytics { peakViewers } }
    }
  }
}
"""
STAGES = """
{
  stages(first: 20, filter: { isLive: true }) {
    nodes { id name }
  }
}
"""
INVITED = """
{ stage(by: { name: "%s" }) { tokens { nodes { participantId token user { username } } } } }
"""
DISCONNECT = """
mutation ($input: StageParticipantDisconnectInput!) {
  stageParticipantDisconnect(input: $input) { errors { __typename } }
}
"""
KEY = "{ viewer { channel { broadcast { streamKey } } } }"
RECORDED = "{ viewer { channel { recordings(first: 1) { nodes { id } } } } }"
DELETE = "mutation ($input: RecordingDeleteInput!) { recordingDelete(input: $input) { errors { __typename } } }"
RESET = """
mutation ($input: StreamKeyResetInput!) { streamKeyReset(input: $input) { errors { __typename } } }
"""
STOP = "mutation ($input: StreamStopInput!) { streamStop(input: $input) { errors { __typename } } }"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("seeded")) as served:
        served.ready()
        yield served


def seed(served: Served, users: int, *options: str) -> str:
    done = run(served.folder / "seed", "seed", "--users", str(users), *options, DATA_DIR=str(served.data))
    assert (done.code, done.complaints) == (0, [])
    return done.out


def people(served: Served, *, live: bool) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ask(served.ready(), PEOPLE, {"isLive": live})["channels"]["nodes"]
    return nodes


def sign_in(served: Served, username: str) -> str:
    done = ask(served.ready(), SIGN_IN, {"input": {"username": username, "password": PASSWORD}})["sessionCreate"]
    assert done["errors"] == []
    token: str = done["token"]
    return token


@pytest.mark.soak
def test_seeded_users_are_like_others(served: Served) -> None:
    assert re.fullmatch(
        r"Added to \d+ users in \d+\.\d s: 60 users, \d+ streams of which 5 are live, "
        r"\d+ recordings, \d+ follows, \d+ chat messages, \d{4} heartbeats of viewers, \d+ invitations to stages "
        r"and \d+ people on them\.\n"
        r"Each of them signs in with the password streamcat-demo; the most popular is \w+\.\n",
        seed(served, 60),
    )
    tidy = run(served.folder / "janitor", "janitor", DATA_DIR=str(served.data))
    assert re.fullmatch(r"0 of \d+ resources belong to nobody\.\n", tidy.out)

    streamer = people(served, live=True)[0]
    assert (streamer["provisioning"], streamer["currentStream"]) == ("READY", {"state": "LIVE"})
    token = sign_in(served, streamer["owner"]["username"])
    url = served.ready()
    watched = ask(url, AUDIENCE, token=token)["viewer"]["channel"]
    stream = watched["currentStream"]
    assert watched["broadcast"] == {"type": "STANDARD"}
    assert stream["peakViewerCount"] == stream["analytics"]["peakViewers"] > 0
    assert len(stream["metrics"]["nodes"]) == 1
    before = ask(url, KEY, token=token)["viewer"]["channel"]["broadcast"]["streamKey"]
    its = {"input": {"channelId": streamer["id"]}}
    assert ask(url, RESET, its, token)["streamKeyReset"]["errors"] == []
    after = ask(url, KEY, token=token)["viewer"]["channel"]["broadcast"]["streamKey"]
    assert before.startswith("sk_")
    assert after.startswith("sk_")
    assert before != after
    assert ask(url, STOP, its, token)["streamStop"]["errors"] == []
    name = streamer["name"]
    still = f'{{ channel(by: {{ name: "{name}" }}) {{ isLive }} }}'
    until(lambda: not ask(url, still)["channel"]["isLive"], f"{name} is offline")

    played = run(
        served.folder / "live",
        "simulate",
        "live",
        name,
        "--minutes",
        "0.05",
        "--viewers",
        "1",
        DATA_DIR=str(served.data),
    )
    assert (played.code, played.out.splitlines()[-1]) == (0, f"{name}'s stream has ended.")


def on_stage(url: str, name: str) -> list[str]:
    found = ask(url, f'{{ stage(by: {{ name: "{name}" }}) {{ participants {{ user {{ username }} }} }} }}')
    return [one["user"]["username"] for one in found["stage"]["participants"]]


@dataclass(frozen=True)
class Hosted:
    """A live stage as its host sees it, with guests of whom some have come and some have not."""

    id: str
    name: str
    host: str
    present: list[str]
    invited: dict[str, str]


def hosted(served: Served) -> Iterator[Hosted]:
    url = served.ready()
    for one in ask(url, STAGES)["stages"]["nodes"]:
        host, present = sign_in(served, one["name"]), on_stage(url, one["name"])
        tokens = ask(url, INVITED % one["name"], token=host)["stage"]["tokens"]["nodes"]
        invited = {token["user"]["username"]: token["participantId"] for token in tokens}
        assert present[0] == one["name"]
        assert set(present[1:]) <= set(invited)
        if 1 < len(present) < 1 + len(invited):
            yield Hosted(one["id"], one["name"], host, present, invited)


def test_seeded_stages_are_open_to_their_guests(served: Served) -> None:
    seed(served, 100)
    url, stage = served.ready(), next(hosted(served))
    came, *others = stage.present[1:]
    late = next(username for username in stage.invited if username not in stage.present)
    (mine,) = ask(url, INVITED % stage.name, token=sign_in(served, late))["stage"]["tokens"]["nodes"]
    claims = json.loads(base64.urlsafe_b64decode(mine["token"].partition(".")[0] + "=="))
    assert claims["jti"] == mine["participantId"] == stage.invited[late]
    body = {"stageArn": claims["resource"], "token": mine["token"]}
    door = f"{served.running['emulator_url']}/_emulator/stages/participants"
    assert httpx.post(door, json=body).is_success
    until(lambda: on_stage(url, stage.name) == [*stage.present, late], f"{late} is on the stage")

    its = {"input": {"stageId": stage.id, "participant": {"participantId": stage.invited[came]}}}
    assert ask(url, DISCONNECT, its, stage.host)["stageParticipantDisconnect"]["errors"] == []
    until(lambda: on_stage(url, stage.name) == [stage.name, *others, late], f"{came} is off the stage")


@pytest.mark.soak
def test_a_seeded_recording_can_be_deleted(served: Served) -> None:
    seed(served, 20)
    url = served.ready()
    token = sign_in(served, people(served, live=True)[0]["owner"]["username"])
    (recording,) = ask(url, RECORDED, token=token)["viewer"]["channel"]["recordings"]["nodes"]
    its = {"input": {"recordingId": recording["id"]}}
    assert ask(url, DELETE, its, token)["recordingDelete"]["errors"] == []
    until(lambda: re.search(r"recording [0-9a-f-]{36}: 0 objects deleted", served.err), "there was nothing on S3")
    assert "ForeignPrefix" not in served.err


@pytest.mark.soak
def test_second_batch_says_what_is_there(served: Served) -> None:
    dice = str(secrets.randbelow(2**31))
    first, second = seed(served, 3, "--random-seed", dice), seed(served, 3, "--random-seed", dice)
    there = [int(re.findall(r"Added to (\d+) users", said)[0]) for said in (first, second)]
    assert there[1] == there[0] + 3
    assert first.split()[-1] != second.split()[-1]


def test_real_aws_is_refused(tmp_path: Any) -> None:
    done = run(
        tmp_path,
        "seed",
        "--users",
        "3",
        EVENTS_QUEUE_URL="https://sqs.us-east-1.amazonaws.com/1/q",
        DATABASE_URL="postgresql://127.0.0.1:9/none",
        SECRET_KEY="k" * 40,
    )
    assert (done.code, done.out) == (78, "")
    (sentence,) = done.complaints
    assert sentence.startswith("EVENTS_QUEUE_URL is set, so this is the real AWS, which has no resources for users")


def test_without_a_server_it_says_what_to_start(tmp_path: Any) -> None:
    done = run(tmp_path, "seed", "--users", "3", DATA_DIR=str(tmp_path / "data"))
    assert (done.code, done.out) == (69, "")
    assert done.complaints == [
        f"No StreamCat with an emulated AWS runs on {tmp_path / 'data'}: start it with `make run`."
    ]
