"""Tokens that AWS can check with the public key alone."""

import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from ivs.tokens import load_es384, sign_es384
from tests.players import new_key, pem


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_the_public_key_verifies_r_and_s_as_they_are() -> None:
    key = new_key()
    # Now and then r or s is short; it must be padded all the same.
    for number in range(300):
        token = sign_es384({"kid": "k"}, {"n": number, "text": "Ä"}, key)
        header, claims, signature = token.split(".")
        assert json.loads(decoded(header)) == {"alg": "ES384", "typ": "JWT", "kid": "k"}
        assert json.loads(decoded(claims)) == {"n": number, "text": "Ä"}
        raw = decoded(signature)
        assert len(raw) == 96
        assert "=" not in token
        der = encode_dss_signature(int.from_bytes(raw[:48]), int.from_bytes(raw[48:]))
        key.public_key().verify(der, f"{header}.{claims}".encode(), ec.ECDSA(SHA384()))
        with pytest.raises(InvalidSignature):
            new_key().public_key().verify(der, f"{header}.{claims}".encode(), ec.ECDSA(SHA384()))


def test_keys_of_the_right_curve_are_taken() -> None:
    key = new_key()
    assert load_es384(pem(key)).private_numbers() == key.private_numbers()


def test_other_keys_are_refused() -> None:
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    locked = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    for text in (
        ec.generate_private_key(ec.SECP256R1()).private_bytes(*plain).decode(),
        rsa.generate_private_key(65537, 2048).private_bytes(*plain).decode(),
        new_key().private_bytes(*locked).decode(),
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        "",
    ):
        with pytest.raises(ValueError, match=r"^not a "):
            load_es384(text)
