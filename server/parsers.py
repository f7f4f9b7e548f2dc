"""How the text of a setting becomes its value; what is refused is never quoted, since it may be a secret."""

import ipaddress
import math
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from ivs.tokens import load_es384
from models.engine import async_url

Parser = Callable[[str], Any]
"""Returns the value; raises ValueError with the words that follow `NAME is not acceptable:`."""

_SHORTEST_SECRET: Final = 32
_MOST_PLAYBACK_KEYS: Final = 2
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def text(value: str) -> str:
    """Take anything."""
    return value


def flag(value: str) -> bool:
    """Take true or false, in the usual spellings."""
    known = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    if value.lower() not in known:
        raise ValueError("expected true or false")
    return known[value.lower()]


def whole(lowest: int, highest: int) -> Parser:
    """Take whole numbers, both ends included."""

    def parse(value: str) -> int:
        digits = value.strip()
        # More digits than the highest number has cannot fit, and a long enough text takes long to convert.
        digits_only = digits.isascii() and digits.isdecimal()
        if not digits_only or len(digits) > len(str(highest)) or not lowest <= int(digits) <= highest:
            raise ValueError(f"expected a whole number from {lowest} to {highest}")
        return int(digits)

    return parse


def seconds(lowest: float, highest: float) -> Parser:
    """Take numbers, both ends included."""

    def parse(value: str) -> float:
        # Python takes other scripts' digits as well, and underscores.
        number = float(value) if _NUMBER.fullmatch(value.strip()) else math.nan
        if not lowest <= number <= highest:
            raise ValueError(f"expected a number of seconds from {lowest:g} to {highest:g}")
        return number

    return parse


def choice(*words: str) -> Parser:
    """Take one of the words, in any mix of upper and lower case."""

    def parse(value: str) -> str:
        if value.lower() not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return value.lower()

    return parse


def capitals(*words: str) -> Parser:
    """Take one of the words of capital letters, in any mix of upper and lower case."""

    def parse(value: str) -> str:
        if value.upper() not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return value.upper()

    return parse


def url(*schemes: str) -> Parser:
    """Take URLs of these schemes, also in the form `scheme+driver`."""

    def parse(value: str) -> str:
        parts = _split(value)
        if parts.scheme.partition("+")[0] not in schemes or not (parts.netloc or parts.query):
            raise ValueError(f"expected a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return value

    return parse


def database(value: str) -> str:
    """Take the URL of a PostgreSQL database."""
    try:
        async_url(value)
    except Exception as error:
        raise ValueError("expected a URL of the form postgresql://user:password@host:5432/database") from error
    return value


def many(item: Parser) -> Parser:
    """Take items separated by commas."""

    def parse(value: str) -> tuple[Any, ...]:
        return tuple(item(part.strip()) for part in value.split(",") if part.strip())

    return parse


def origin(value: str) -> str:
    """Take a site as browsers name it (RFC 6454)."""
    parts = _split(value)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
        raise ValueError("expected origins such as https://example.com, without a path")
    return value


def network(value: str) -> str:
    """Take an address or a network."""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise ValueError("expected addresses or networks such as 10.0.0.0/8") from None


def deployment(value: str) -> str:
    """Take what fits into the names and tags of AWS resources."""
    if not re.fullmatch("[A-Za-z0-9-]{1,32}", value):
        raise ValueError("expected 1 to 32 letters, digits and hyphens")
    return value


def region(value: str) -> str:
    """Take what the SDK takes for a region; it would complain only when a client is opened."""
    if not re.fullmatch("[A-Za-z0-9-]{1,63}", value):
        raise ValueError("expected a region such as eu-central-1")
    return value


def recording_configuration(value: str) -> str:
    """Take what AWS takes for a recording configuration; it would complain only when a channel is created."""
    if not re.fullmatch("arn:aws:ivs:[a-z0-9-]+:[0-9]+:recording-configuration/[a-zA-Z0-9-]+", value):
        raise ValueError("expected arn:aws:ivs:REGION:ACCOUNT:recording-configuration/ID")
    return value


def secret_keys(value: str) -> tuple[str, ...]:
    """Take at least one key, separated by commas."""
    keys = tuple(key.strip() for key in value.split(","))
    if any(len(key) < _SHORTEST_SECRET for key in keys):
        raise ValueError(f"expected at least {_SHORTEST_SECRET} random characters in each key")
    return keys


def private_key(value: str) -> str:
    """Take a private key on P-384 in PEM format; a backslash and an n may stand for each line break."""
    pem = value.replace("\\n", "\n")
    try:
        load_es384(pem)
    except ValueError:
        raise ValueError("expected a private key on the curve P-384, in PEM format and without a password") from None
    return pem


def playback_keys(value: str) -> tuple[str, ...]:
    """Take one or two private keys in PEM, one after the other; line ends may be written as backslash and n."""
    keys = tuple(re.findall(r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", value.replace("\\n", "\n"), re.DOTALL))
    if not 1 <= len(keys) <= _MOST_PLAYBACK_KEYS:
        raise ValueError("expected one or two private keys in PEM")
    for key in keys:
        try:
            load_es384(key)
        except ValueError:
            # The library's words may quote a part of the key.
            raise ValueError("expected private keys of the curve P-384 in PEM, without a password") from None
    return keys


def _split(value: str) -> SplitResult:
    try:
        return urlsplit(value)
    except ValueError:
        # Its words quote a part of the value.
        return SplitResult("", "", "", "", "")
