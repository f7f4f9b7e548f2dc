"""The emulator as a process: state, ports, signals, connections."""

import http.client
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ivs.account import ROOT, Account, running_emulator


def test_state_survives_a_kill(tmp_path: Path) -> None:
    state = tmp_path / "new" / "account.db"
    with running_emulator("--state", str(state)) as (url, process):
        account = Account(url)
        channel = account.channel(name="kept", tags={"k": "v"})
        account.channel()
        stream = account.go_live(channel)
        token = account.chat.create_chat_token(roomIdentifier=account.room(), userId="ada")["token"]
        mark = account.ivs.list_channels(maxResults=1)["nextToken"]
        account.close()
        process.send_signal(signal.SIGKILL)
        process.wait()
    with running_emulator("--state", str(state)) as (url, process):
        account = Account(url)
        assert account.ivs.get_channel(arn=channel)["channel"]["tags"] == {"k": "v"}
        assert len(account.ivs.list_channels(nextToken=mark)["channels"]) == 1
        assert account.do("tokens/check", token=token)["claims"]["user_id"] == "ada"
        assert account.ivs.get_stream(channelArn=channel)["stream"]["streamId"] == stream
        account.do(f"broadcasts/{stream}/end")
        account.do("reset")
        assert account.ivs.list_channels()["channels"] == []
        account.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def refuse_to_start(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "ivs.emulator", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stderr


def test_a_busy_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, error = refuse_to_start("--port", str(port))
    assert (code, error) == (69, f"The emulator cannot listen on 127.0.0.1:{port}: Address already in use.\n")


@pytest.mark.parametrize("content", ["nonsense", "newer"])
def test_a_foreign_state_file_is_one_sentence(tmp_path: Path, content: str) -> None:
    state = tmp_path / "state.db"
    if content == "newer":
        with sqlite3.connect(state) as database:
            database.execute("PRAGMA user_version = 99")
        database.close()
        sentence = f"The emulator's state {state} is of version 99; this one reads 1.\n"
    else:
        state.write_text("This is not a database.\n" * 100)
        sentence = f"The emulator's state {state} cannot be used: file is not a database.\n"
    assert refuse_to_start("--state", str(state)) == (73, sentence)


def test_connections_are_kept(emulator_url: str) -> None:
    connection = http.client.HTTPConnection(emulator_url.removeprefix("http://"))
    ports = set()
    for _ in range(3):
        connection.request("GET", "/_emulator/health")
        ports.add(connection.sock.getsockname()[1])
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b'{"status": "ok"}')
    connection.close()
    assert len(ports) == 1


@pytest.mark.parametrize(
    ("signed", "method", "path", "body", "status", "code"),
    [
        ("ivs", "POST", "/CreateChannel", b"{", 400, "SerializationException"),
        ("ivs", "POST", "/CreateChannel", b"[]", 400, "SerializationException"),
        ("ivschat", "POST", "/CreateRoom", b"\xff\xfe", 400, "SerializationException"),
        ("ivs", "POST", "/DanceChannel", b"{}", 404, "UnknownOperationException"),
        ("ivs", "GET", "/CreateChannel", b"", 404, "UnknownOperationException"),
        ("ivschat", "PUT", "/tags/arn", b"", 404, "UnknownOperationException"),
    ],
)
def test_what_is_no_request_of_aws_is_refused(
    emulator_url: str, signed: str, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    connection = http.client.HTTPConnection(emulator_url.removeprefix("http://"))
    scope = f"AWS4-HMAC-SHA256 Credential=key/20260101/eu-west-1/{signed}/aws4_request, Signature=x"
    connection.request(method, path, body, {"Authorization": scope})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (status, code)
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "nothing", {}, 404),
        ("POST", "broadcasts", {"channelArn": "arn"}, 404),
        ("POST", "broadcasts/st-none/start", {}, 404),
        ("GET", "broadcasts/st-none", {}, 404),
        ("POST", "stages/participants", {"stageArn": "arn"}, 404),
        ("POST", "limits", {}, 400),
        ("POST", "settings", {"colour": "red"}, 400),
        ("POST", "settings", {"quotas": {"cats": 9}}, 400),
        ("POST", "tokens/check", {"token": "forged"}, 403),
    ],
)
def test_the_control_door_refuses_in_one_sentence(
    account: Account, method: str, path: str, body: dict[str, object], status: int
) -> None:
    code, answer = account.door(method, path, **body)
    assert (code, list(answer)) == (status, ["error"])


def test_a_broadcast_takes_its_steps_once(account: Account) -> None:
    stream = account.connect(account.channel())
    assert account.door("POST", f"broadcasts/{stream}/health", state="STARVING")[0] == 409
    account.do(f"broadcasts/{stream}/start")
    assert account.door("POST", f"broadcasts/{stream}/start")[0] == 409
    assert account.door("POST", f"broadcasts/{stream}/health", state="ILL")[0] == 400
    assert account.door("POST", f"broadcasts/{stream}/viewers", count="many")[0] == 400
    account.do(f"broadcasts/{stream}/end")
    assert account.door("POST", f"broadcasts/{stream}/end")[0] == 410
    assert account.door("GET", f"broadcasts/{stream}")[1]["viewerCount"] == 0
