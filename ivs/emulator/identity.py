"""Names AWS gives: ids, ARNs, times."""

import secrets
import string
from datetime import UTC, datetime

ALPHABET = string.ascii_letters + string.digits

REALTIME_TYPES = frozenset({"stage", "public-key"})


def new_id(length: int = 12) -> str:
    """A random id of letters and digits; IVS uses 12 for resources, rooms and chat messages."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def stream_id() -> str:
    """Id of a broadcast: `st-` and 23 characters, 26 in all."""
    return f"st-{new_id(23)}"


def session_id() -> str:
    """Id of a stage session: `st-` and 13 characters, 16 in all."""
    return f"st-{new_id(13)}"


def arn(service: str, region: str, account: str, kind: str, name: str | None = None) -> str:
    """A new ARN; `service` is `ivs` or `ivschat`."""
    return f"arn:aws:{service}:{region}:{account}:{kind}/{name or new_id()}"


def kind_of(value: str) -> str:
    """The resource type of an ARN (`channel`), or an empty string for anything else."""
    match value.split(":", 5):
        case [_, _, _, _, _, resource]:
            return resource.partition("/")[0]
    return ""


def region_of(value: str) -> str:
    """The region of an ARN."""
    return value.split(":", 5)[3]


def name_of(value: str) -> str:
    """What stands behind the last slash of an ARN: for rooms and stages their id."""
    return value.rpartition("/")[2]


def iso(seconds: float) -> str:
    """Epoch seconds as ISO-8601 with whole seconds, as IVS and EventBridge write times."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_precise(seconds: float) -> str:
    """Epoch seconds as ISO-8601 with milliseconds, as IVS Chat writes times."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
