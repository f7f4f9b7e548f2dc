"""Subscribers that ask for compressed messages (RFC 7692), and read them."""

import zlib

from bench.fanout.crowd import TEXT, Crowd, Watcher

COMPRESSED = 0xC1
TAIL = b"\x00\x00\xff\xff"


class DeflatedCrowd(Crowd):
    """Unpacks what comes before it is looked at."""

    headers = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.unpackers: dict[bytes, zlib._Decompress] = {}
        self.frames_packed = self.bytes_packed = 0

    def take(self, watcher: Watcher, data: bytes) -> None:
        if not watcher.upgraded:
            assert not data.endswith(b"\r\n\r\n") or b"permessage-deflate" in data, "the server does not compress"
            super().take(watcher, data)
            return
        plain, start = bytearray(), 0
        while len(data) - start >= 2:
            length, begin = data[start + 1], start + 2
            if length > 125:
                length, begin = int.from_bytes(data[start + 2 : start + 4], "big"), start + 4
            if begin + length > len(data):
                break
            if data[start] == COMPRESSED:
                unpacker = self.unpackers.setdefault(watcher.operation_id, zlib.decompressobj(-15))
                message = unpacker.decompress(data[begin : begin + length] + TAIL)
                plain += bytes((TEXT, 126)) + len(message).to_bytes(2, "big") + message
                self.frames_packed += 1
                self.bytes_packed += begin + length - start
            else:
                plain += data[start : begin + length]
            start = begin + length
        if plain:
            watcher.rest = b""
            super().take(watcher, bytes(plain))
        watcher.rest = data[start:]
