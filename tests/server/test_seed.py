"""`seed`: what it adds is like what people have made, on the emulated AWS too; the real one it does not touch."""

import re
import secrets
from collections.abc import Iterator
from typing import Any

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
KEY = "{ viewer { channel { broadcast { streamKey } } } }"
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


def test_seeded_users_are_like_others(served: Served) -> None:
    assert re.fullmatch(
        r"Added to \d+ users in \d+\.\d s: 60 users, \d+ streams of which 5 are live, "
        r"\d+ recordings, \d+ follows, \d+ chat messages\.\n"
        r"Each of them signs in with the password streamcat-demo; the most popular is \w+\.\n",
        seed(served, 60),
    )
    tidy = run(served.folder / "janitor", "janitor", DATA_DIR=str(served.data))
    assert re.fullmatch(r"0 of \d+ resources belong to nobody\.\n", tidy.out)

    streamer = people(served, live=True)[0]
    assert (streamer["provisioning"], streamer["currentStream"]) == ("READY", {"state": "LIVE"})
    token = sign_in(served, streamer["owner"]["username"])
    url = served.ready()
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
