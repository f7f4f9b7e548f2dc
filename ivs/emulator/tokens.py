"""Tokens the emulator signs for chat rooms and stages, and their check.

AWS's tokens are opaque to the application; these are JSON and an HMAC, so that the emulator needs to store none. Tokens
of stages that the application signed are checked against the public key it has imported (facts d.2).
"""

import base64
import hashlib
import hmac
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ivs.emulator.errors import ControlError
from ivs.emulator.world import World

_JWT_DOTS = 2
_HALF = 48
_LONGEST = 14 * 24 * 3600


def issue(world: World, claims: dict[str, Any]) -> str:
    """A signed token; `exp` is epoch seconds, `jti` its unique id, `kind` is `chat` or `stage`."""
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{body}.{_seal(world, body)}"


def check(world: World, token: str, *, use: bool) -> dict[str, Any]:
    """The claims of a valid token. With `use` a chat token is spent, as by a client that connects with it.

    Raises:
        ControlError: forged, expired, or used before (403).
    """
    if token.count(".") == _JWT_DOTS:
        return _check_signed(world, token)
    body, _, seal = token.partition(".")
    if not hmac.compare_digest(seal.encode(), _seal(world, body).encode()):
        raise ControlError(403, "The token was not issued here.")
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    if claims["exp"] <= world.now():
        raise ControlError(403, "The token has expired.")
    if claims["kind"] == "chat":
        if world.store.get("spent-token", claims["jti"]) is not None:
            raise ControlError(403, "The token was used before.")
        if use:
            world.store.put("spent-token", claims["jti"], {}, region="")
    return claims


def _check_signed(world: World, token: str) -> dict[str, Any]:
    """The claims of a token signed with an imported key, in the form of those the emulator issues."""
    signed, _, signature = token.rpartition(".")
    header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
    key = world.store.get("public-key", str(header.get("kid")))
    raw = _decoded(signature)
    if key is None or header != {"alg": "ES384", "typ": "JWT", "kid": header.get("kid")} or len(raw) != 2 * _HALF:
        raise ControlError(403, "The token is not signed as IVS wants it.")
    public_key = load_pem_public_key(key["publicKeyMaterial"].encode())
    assert isinstance(public_key, EllipticCurvePublicKey)  # noqa: S101  # looked at when it was imported
    der = encode_dss_signature(int.from_bytes(raw[:_HALF], "big"), int.from_bytes(raw[_HALF:], "big"))
    try:
        public_key.verify(der, signed.encode(), ECDSA(SHA384()))
    except InvalidSignature:
        raise ControlError(403, "The token was not issued here.") from None
    stage = world.store.get("stage", claims["resource"])
    urls = (claims["events_url"], claims["whip_url"])
    if stage is None or urls != (stage["endpoints"]["events"], stage["endpoints"]["whip"]):
        raise ControlError(403, "The token names another stage, or other addresses than the stage's.")
    if not world.now() < claims["exp"] <= claims["iat"] + _LONGEST or claims["version"] != "1.0":
        raise ControlError(403, "The token has expired.")
    allowed = claims["capabilities"]
    names = {"allow_publish": "PUBLISH", "allow_subscribe": "SUBSCRIBE"}
    return {**claims, "capabilities": [name for claim, name in names.items() if allowed[claim]]}


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _seal(world: World, body: str) -> str:
    return hmac.new(world.secret(), body.encode(), hashlib.sha256).hexdigest()
