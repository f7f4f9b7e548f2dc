"""Many subscribers in one thread: sockets that are read by epoll, and frames that are looked at as bytes.

As little as can be, since this process must not be what is measured: of a frame only its length and the number of its
change are found. What is not such a frame (the handshake, pings) takes the slow way.
"""

import base64
import json
import os
import re
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

from bench.fanout.said import START, Scenario

PATIENCE = 120.0
# Sockets that are being connected at once.
WAVE = 100
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A


@dataclass(slots=True)
class Watcher:
    """One socket with one subscription.

    Attributes:
        operation_id: As long as the ids that the usual JavaScript clients make; every frame must have it.
        last: Number of the newest change it was told, 0 before the first state.
    """

    crowd: "Crowd"
    socket: socket.socket
    node_id: str
    operation_id: bytes
    upgraded: bool = False
    last: int = 0
    rest: bytes = b""

    def send(self, opcode: int, payload: bytes) -> None:
        # Clients must mask; a key of zeros leaves the bytes as they are.
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self.socket.sendall(bytes([opcode]) + length + bytes(4) + payload)


class Reactor:
    """Reads the sockets of all crowds, so that those that wait for their turn answer pings too."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.watchers: dict[int, Watcher] = {}

    def run(self, until: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Read until that is so."""
        deadline = time.perf_counter() + seconds
        while not until():
            left = deadline - time.perf_counter()
            assert left > 0, "what was sent did not arrive everywhere"
            self._read(left)

    def idle(self, until: float) -> None:
        """Read until that time."""
        while (left := until - time.perf_counter()) > 0:
            self._read(left)

    def _read(self, seconds: float) -> None:
        watchers = self.watchers
        for number, _ in self.epoll.poll(seconds, 256):
            watcher = watchers[number]
            data = watcher.socket.recv(65536)
            assert data, f"{watcher.crowd.name} ended a socket"
            watcher.crowd.take(watcher, watcher.rest + data if watcher.rest else data)


class Crowd:
    """Subscribers of one server. `done` tells when which change had arrived everywhere."""

    # What the handshake asks for beside the protocol.
    headers = ""

    def __init__(self, reactor: Reactor, name: str, port: int, scenario: Scenario) -> None:
        self.name = name
        self.members: list[Watcher] = []
        self.sample = b""
        self.number = START
        self.frames = self.skipped = self.waiting = 0
        self.done: dict[int, float] = {}
        self._arrived: dict[int, int] = {}
        self._reactor = reactor
        self._port = port
        self._scenario = scenario
        # Of bare all sockets get the same bytes, with the id of one.
        self._ids = name != "bare"
        self._search = re.compile(scenario.pattern).search

    def grow(self, node_ids: Sequence[str]) -> None:
        """Connect a subscriber to each; return when all know the present state."""
        for number in range(0, len(node_ids), WAVE):
            for node_id in node_ids[number : number + WAVE]:
                self._connect(node_id)
            self._reactor.run(lambda: not self.waiting)

    def leave(self) -> None:
        """Drop all sockets."""
        self.drop(len(self.members))

    def drop(self, count: int) -> None:
        """Drop the sockets that have been there for longest."""
        for member in self.members[:count]:
            del self._reactor.watchers[member.socket.fileno()]
            member.socket.close()
        del self.members[:count]

    def take(self, watcher: Watcher, data: bytes) -> None:
        """Look at the frames of one reading."""
        if not watcher.upgraded:
            self._upgrade(watcher, data)
            return
        start, size = 0, len(data)
        while size - start >= 2:
            length, begin = data[start + 1], start + 2
            if length > 125:
                begin += 2 if length == 126 else 8
                if begin > size:
                    break
                length = int.from_bytes(data[start + 2 : begin], "big")
            end = begin + length
            if end > size:
                break
            found = self._search(data, begin, end) if data[start] == TEXT else None
            if found is None:
                self._other(watcher, data[start], data[begin:end])
            else:
                assert not self._ids or data.find(watcher.operation_id, begin, end) > 0, f"{self.name} mixes up sockets"
                self._count(watcher, int(found[1]))
                if not self.sample:
                    self.sample = data[begin:end]
            start = end
        watcher.rest = data[start:]

    def _count(self, watcher: Watcher, number: int) -> None:
        last = watcher.last
        watcher.last = number
        if not last:
            assert number == START, f"{self.name} begins with {number}"
            self.waiting -= 1
            return
        assert number > last, f"{self.name} tells of {number} after {last}"
        self.frames += 1
        self.skipped += number - last - 1
        arrived = self._arrived[number] = self._arrived.get(number, 0) + 1
        if arrived == len(self.members):
            self.done[number] = time.perf_counter()

    def _connect(self, node_id: str) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port), 30)
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        watcher = Watcher(self, connection, node_id, str(uuid4()).encode())
        self.members.append(watcher)
        self.waiting += 1
        self._reactor.watchers[connection.fileno()] = watcher
        self._reactor.epoll.register(connection, select.EPOLLIN)
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET /graphql HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: graphql-transport-ws\r\n{self.headers}\r\n".encode()
        )

    def _upgrade(self, watcher: Watcher, data: bytes) -> None:
        if not data.endswith(b"\r\n\r\n"):
            watcher.rest = data
            return
        assert data.startswith(b"HTTP/1.1 101 "), data
        watcher.upgraded, watcher.rest = True, b""
        watcher.send(TEXT, b'{"type":"connection_init"}')

    def _other(self, watcher: Watcher, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            watcher.send(PONG, payload)
            return
        assert opcode == TEXT, f"{self.name} sent a frame of kind {opcode:x}: {payload!r}"
        kind = json.loads(payload)["type"]
        if kind == "ping":
            watcher.send(TEXT, b'{"type":"pong"}')
            return
        assert kind == "connection_ack", f"{self.name} says {payload!r}"
        asked = {"query": self._scenario.query, "variables": {"id": watcher.node_id}}
        message = {"id": watcher.operation_id.decode(), "type": "subscribe", "payload": asked}
        watcher.send(TEXT, json.dumps(message).encode())
