"""Thousands of subscribers in one thread, as a process of its own, told by lines of JSON what to do.

Each holds a socket with one subscription, remembers its newest payload, and comes back at the next address when its
socket ends. Those that stall read their first payload and nothing more. Only what tests need of the protocol is here.
"""

import base64
import json
import os
import random
import re
import resource
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

# Handshakes that are under way at once.
WAVE = 200
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A
NUMBER = re.compile(rb"#(\d+)")
PAYLOAD = b'"payload":'
# Bytes that the system may hold for one that stalls.
STALLED_BUFFER = 4096


@dataclass(slots=True, eq=False)
class Subscriber:
    """Attributes: `topic` is the index of what it watches, `newest` the greatest number that it was ever told."""

    topic: int
    turn: int
    stalls: bool
    connection: socket.socket | None = None
    upgraded: bool = False
    asleep: bool = False
    rest: bytes = b""
    payload: bytes = b""
    newest: int = -1

    def send(self, opcode: int, payload: bytes) -> None:
        # Clients must mask; a key of zeros leaves the bytes as they are.
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        assert self.connection is not None
        self.connection.sendall(bytes([opcode]) + length + bytes(4) + payload)


class Crowd:
    """All subscribers. `count` is what happened to them."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.ports: list[int] = []
        self.asked: list[bytes] = []
        self.members: list[Subscriber] = []
        self.count: Counter[str] = Counter()
        self._by_number: dict[int, Subscriber] = {}
        # Who wants to connect, by when.
        self._due: list[tuple[float, int, Subscriber]] = []
        self._shaking: set[Subscriber] = set()
        self._known: dict[bytes, bytes] = {}

    def grow(self, topics: list[dict[str, Any]], count: int, stalls_every: int) -> None:
        """Add so many subscribers, one after the other to each topic; of each topic's every so manieth stalls."""
        first = len(self.asked)
        for payload in topics:
            self.asked.append(json.dumps({"id": "1", "type": "subscribe", "payload": payload}).encode())
        for number in range(count):
            stalls = bool(stalls_every) and number // len(topics) % stalls_every == 0
            member = Subscriber(first + number % len(topics), number // len(topics), stalls)
            self.members.append(member)
            self._wants(member, 0)

    def wake(self) -> None:
        """Let those that stall read on."""
        self.count["woken"] = 1
        for member in self.members:
            if member.asleep and member.connection is not None:
                member.asleep = False
                self.epoll.register(member.connection, select.EPOLLIN)

    def told(self) -> dict[str, Any]:
        """Return what all know now: of each topic the newest payloads, with how many have them."""
        last: list[Counter[str]] = [Counter() for _ in self.asked]
        for member in self.members:
            if not member.stalls:
                last[member.topic][member.payload.decode()] += 1
        stalled = Counter(str(member.newest) for member in self.members if member.stalls)
        served = sum(member.upgraded and bool(member.payload) for member in self.members)
        return {"last": last, "stalled": stalled, "served": served, **self.count}

    def turn(self) -> None:
        """Read what has come, and connect whose time it is."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now and len(self._shaking) < WAVE:
            self._connect(heappop(self._due)[2])
        wait = 0.2 if not self._due or len(self._shaking) >= WAVE else max(0.0, min(0.2, self._due[0][0] - now))
        for number, _ in self.epoll.poll(wait, 512):
            if number == sys.stdin.fileno():
                self._obey(json.loads(sys.stdin.readline()))
                continue
            member = self._by_number[number]
            assert member.connection is not None
            try:
                data = member.connection.recv(65536)
                if data:
                    self._take(member, member.rest + data if member.rest else data)
            except OSError:
                data = b""
            if not data:
                self._ended(member)

    def _obey(self, order: dict[str, Any]) -> None:
        if "ports" in order:
            self.ports = order["ports"]
        if "grow" in order:
            self.grow(**order["grow"])
        if "wake" in order:
            self.wake()
        sys.stdout.write(f"{json.dumps(self.told())}\n")
        sys.stdout.flush()

    def _wants(self, member: Subscriber, seconds: float) -> None:
        heappush(self._due, (time.monotonic() + seconds, id(member), member))

    def _connect(self, member: Subscriber) -> None:
        connection = socket.socket()
        if member.stalls:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_BUFFER)
        connection.settimeout(10)
        port = self.ports[member.turn % len(self.ports)]
        member.turn += 1
        try:
            connection.connect(("127.0.0.1", port))
            key = base64.b64encode(os.urandom(16)).decode()
            connection.sendall(
                f"GET /graphql HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n".encode()
            )
        except OSError:
            connection.close()
            self.count["refused"] += 1
            self._wants(member, 0.1)
            return
        connection.settimeout(0)
        self.count["connected"] += 1
        member.connection, member.upgraded, member.asleep, member.rest = connection, False, False, b""
        self._by_number[connection.fileno()] = member
        self._shaking.add(member)
        self.epoll.register(connection, select.EPOLLIN)

    def _ended(self, member: Subscriber) -> None:
        assert member.connection is not None
        del self._by_number[member.connection.fileno()]
        member.connection.close()
        member.connection, member.upgraded = None, False
        self._shaking.discard(member)
        self.count["ended"] += 1
        if not member.stalls:
            self._wants(member, random.uniform(0.05, 0.5))

    def _take(self, member: Subscriber, data: bytes) -> None:
        if not member.upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                member.rest = head
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                raise OSError(head.decode())
            member.upgraded, member.rest = True, b""
            member.send(TEXT, b'{"type":"connection_init"}')
        start, size = 0, len(data)
        while size - start >= 2:
            length, begin = data[start + 1], start + 2
            if length > 125:
                begin += 2 if length == 126 else 8
                if begin > size:
                    break
                length = int.from_bytes(data[start + 2 : begin], "big")
            end_ = begin + length
            if end_ > size:
                break
            self._frame(member, data[start], data[begin:end_])
            start = end_
        member.rest = data[start:]

    def _frame(self, member: Subscriber, opcode: int, data: bytes) -> None:
        if opcode == TEXT and data.startswith(b'{"id":"1","type":"next",'):
            self._next(member, data[data.index(PAYLOAD) + len(PAYLOAD) : -1])
        elif opcode == PING:
            member.send(PONG, data)
        elif opcode == TEXT and data == b'{"type":"connection_ack"}':
            member.send(TEXT, self.asked[member.topic])
        elif opcode == CLOSE:
            self.count[f"close {int.from_bytes(data[:2], 'big')}"] += 1
        else:
            # An error, or that it is complete: neither should ever come.
            self.count[f"says {data[:300].decode()}"] += 1

    def _next(self, member: Subscriber, payload: bytes) -> None:
        self._shaking.discard(member)
        self.count["frames"] += 1
        found = NUMBER.search(payload)
        number = -1 if found is None else int(found[1])
        if number < member.newest:
            self.count["backwards"] += 1
        # Kept once for all that have the same.
        member.newest, member.payload = number, self._known.setdefault(payload, payload)
        if len(self._known) > 10_000:
            self._known = {one.payload: one.payload for one in self.members}
        if member.stalls and not member.asleep and self.count["woken"] == 0:
            assert member.connection is not None
            member.asleep = True
            self.epoll.unregister(member.connection)


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = Crowd()
    crowd.epoll.register(sys.stdin, select.EPOLLIN)
    while os.getppid() != 1:
        crowd.turn()


if __name__ == "__main__":
    main()
