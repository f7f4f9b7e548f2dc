"""Tokens that AWS checks with a public key it was given: JSON Web Tokens signed with ES384.

Source: RFC 7515 (JWS), RFC 7518 section 3.4: the signature is r and s as they are, not in DER.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_COORDINATE_BYTES: Final = 48


def load_es384(pem: str) -> EllipticCurvePrivateKey:
    """Return the private key of a PEM text.

    Raises:
        ValueError: It is no private key, one with a password, or one of another curve than P-384.
    """
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("not a PEM private key without password") from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP384R1):
        raise ValueError("not a key of the curve P-384")  # noqa: TRY004 - the text is at fault
    return key


def sign_es384(header: Mapping[str, Any], claims: Mapping[str, Any], key: EllipticCurvePrivateKey) -> str:
    """Return the signed token; `alg` and `typ` are added to the header."""
    parts = ({"alg": "ES384", "typ": "JWT", **header}, claims)
    signed = ".".join(_encoded(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    r, s = decode_dss_signature(key.sign(signed.encode(), ECDSA(hashes.SHA384())))
    signature = r.to_bytes(_COORDINATE_BYTES) + s.to_bytes(_COORDINATE_BYTES)
    return f"{signed}.{_encoded(signature)}"


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
