"""Viewer tokens: who plays which channel, signed, so that a heartbeat is believed without a look into the database."""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from models.base import uuid7

# Version, channel, viewing, and the milliseconds of beginning and end.
_LAYOUT: Final = struct.Struct(">B16s16sQQ")
_VERSION: Final = 1
_SEAL_BYTES: Final = 32
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Viewing:
    """One player that plays one channel, from `started_at` on."""

    id: UUID
    channel_id: UUID
    started_at: datetime
    expires_at: datetime


class ViewerTokens:
    """HMAC-SHA256 under keys derived from the secret keys; the first signs, all verify, so that keys can be rotated."""

    def __init__(self, secret_keys: Sequence[str], *, lifetime: float) -> None:
        """Sign for `lifetime` seconds."""
        self._keys = [_derive(key) for key in secret_keys]
        self._lifetime = timedelta(seconds=lifetime)

    def __repr__(self) -> str:
        return f"ViewerTokens({len(self._keys)} keys)"

    def begin(self, channel_id: UUID) -> Viewing:
        """Return a new viewing that begins now."""
        now = datetime.now(UTC)
        # As exact as the token: whoever reads it gets the same moment.
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        return Viewing(uuid7(), channel_id, now, now + self._lifetime)

    def sign(self, viewing: Viewing) -> str:
        """Return the viewing as a token."""
        moments = (_milliseconds(viewing.started_at), _milliseconds(viewing.expires_at))
        body = _LAYOUT.pack(_VERSION, viewing.channel_id.bytes, viewing.id.bytes, *moments)
        return base64.urlsafe_b64encode(body + _seal(self._keys[0], body)).decode().rstrip("=")

    def read(self, token: str) -> Viewing | None:
        """Return the viewing of a token; null if it was not signed here, or has expired."""
        if "+" in token or "/" in token:
            return None
        text = token.replace("-", "+").replace("_", "/")
        try:
            raw = binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
        except ValueError:
            return None
        body, seal = raw[: _LAYOUT.size], raw[_LAYOUT.size :]
        if len(seal) != _SEAL_BYTES or not self._sealed(body, seal):
            return None
        version, channel_id, viewing_id, started, expires = _LAYOUT.unpack(body)
        viewing = Viewing(UUID(bytes=viewing_id), UUID(bytes=channel_id), _moment(started), _moment(expires))
        return viewing if version == _VERSION and datetime.now(UTC) < viewing.expires_at else None

    def _sealed(self, body: bytes, seal: bytes) -> bool:
        return any(hmac.compare_digest(_seal(key, body), seal) for key in self._keys)


def _derive(secret_key: str) -> bytes:
    kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"streamcat viewer token v1")
    return kdf.derive(secret_key.encode())


def _seal(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, hashlib.sha256)


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
