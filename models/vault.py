"""Encryption of the few secrets that must be read again: stream keys."""

import base64
import os
from collections.abc import Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12


class VaultError(Exception):
    """A sealed value fits none of the present keys, or was moved from another row."""


class Vault:
    """AES-256-GCM under keys derived from the secret keys; the first seals, all open, so that keys can be rotated.

    The row's id is authenticated with the value: a ciphertext copied into another row does not open.
    Source: NIST SP 800-38D; RFC 5869 (HKDF).
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._ciphers = [AESGCM(self._derive(key)) for key in secret_keys]

    def __repr__(self) -> str:
        return f"Vault({len(self._ciphers)} keys)"

    @staticmethod
    def _derive(secret_key: str) -> bytes:
        kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"streamcat vault v1")
        return kdf.derive(secret_key.encode())

    def seal(self, value: str, *, row_id: UUID) -> bytes:
        """Return nonce and ciphertext of `value`, bound to the row."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, value.encode(), row_id.bytes)

    def open(self, sealed: bytes, *, row_id: UUID) -> str:
        """Return what was sealed.

        Raises:
            VaultError: No key fits.
        """
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], row_id.bytes).decode()
            except InvalidTag:
                continue
        raise VaultError("a sealed value fits none of the secret keys; was SECRET_KEY changed without keeping the old?")


def generate_secret_key() -> str:
    """Return 256 fresh random bits as text."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
