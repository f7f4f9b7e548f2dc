"""Tokens with which somebody joins a stage, signed by us or made by Amazon; and the way to put somebody out.

Source: IVS Real-Time Streaming User Guide, "Distribute participant tokens". Amazon keeps no tokens: whatever was given
to somebody works until it expires, so whoever was put out may come back with it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from ivs.client import Aws
from ivs.errors import Terminal
from ivs.tokens import load_es384, sign_es384

LONGEST_MINUTES: Final = 14 * 24 * 60
LONGEST_REASON: Final = 128
_GONE: Final = "ResourceNotFoundException"


@dataclass(frozen=True, slots=True)
class Admission:
    """Who is to be let onto which stage, and for what. What is about the user is shown to every participant."""

    stage_arn: str
    user_id: str
    attributes: Mapping[str, str]
    may_publish: bool
    minutes: int


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where clients of a stage connect, as Amazon told of the stage; to be kept for at most 14 days."""

    events_url: str
    whip_url: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """A token and what it says of itself."""

    token: str = field(repr=False)
    participant_id: str
    expires_at: datetime


class Signer:
    """Signs tokens without a call to Amazon, so that no quota applies."""

    def __init__(self, private_key: str, public_key_arn: str) -> None:
        self._key = load_es384(private_key)
        self._public_key_arn = public_key_arn

    def __repr__(self) -> str:
        return f"Signer({self._public_key_arn!r})"

    def sign(self, admission: Admission, endpoints: Endpoints) -> Ticket:
        """Return a fresh ticket."""
        now = int(time.time())
        expires, participant_id = now + 60 * admission.minutes, uuid4().hex
        claims: dict[str, Any] = {
            "exp": expires,
            "iat": now,
            "jti": participant_id,
            "resource": admission.stage_arn,
            "topic": admission.stage_arn.rpartition("/")[2],
            "events_url": endpoints.events_url,
            "whip_url": endpoints.whip_url,
            "user_id": admission.user_id,
            "attributes": dict(admission.attributes),
            "capabilities": {"allow_publish": admission.may_publish, "allow_subscribe": True},
            "version": "1.0",
        }
        token = sign_es384({"kid": self._public_key_arn}, claims, self._key)
        return Ticket(token, participant_id, datetime.fromtimestamp(expires, UTC))


async def create(aws: Aws, admission: Admission) -> Ticket:
    """Let Amazon make a ticket; 50 per second and account. Raises what `Aws.call` raises."""
    answer = await aws.call(
        "ivs-realtime",
        "create_participant_token",
        stageArn=admission.stage_arn,
        duration=admission.minutes,
        userId=admission.user_id,
        attributes=dict(admission.attributes),
        # Without the list Amazon allows both.
        capabilities=["PUBLISH", "SUBSCRIBE"] if admission.may_publish else ["SUBSCRIBE"],
    )
    made = answer["participantToken"]
    return Ticket(made["token"], made["participantId"], made["expirationTime"])


async def disconnect(aws: Aws, stage_arn: str, participant_id: str, reason: str) -> None:
    """Put a participant out; one who is not there is out already. Raises what `Aws.call` raises otherwise."""
    try:
        await aws.call(
            "ivs-realtime",
            "disconnect_participant",
            stageArn=stage_arn,
            participantId=participant_id,
            reason=reason,
        )
    except Terminal as error:
        if error.code != _GONE:
            raise
