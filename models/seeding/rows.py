"""Rows of a made-up world, as mappings of columns; all of a table have the same."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from models.provisioned import ProvisioningState
from models.seeding.audience import Crowd
from models.seeding.possessions import Possessions
from models.seeding.talk import talk
from models.seeding.world import Broadcast, Person, World
from models.vault import Vault

Rows = Iterable[dict[str, Any]]
Owned = Iterable[tuple[Person, Possessions]]

_READY: Final = {"provisioning": ProvisioningState.READY, "provision_attempts": 1}


def user(person: Person, password_hash: str) -> dict[str, Any]:
    """Return somebody's account."""
    return {
        "id": person.id,
        "username": person.username,
        "password_hash": password_hash,
        "created_at": person.joined_at,
        "updated_at": person.joined_at,
    }


def part(key: UUID, person: Person, arn: str) -> dict[str, Any]:
    """Return what channel, room and stage have in common."""
    return {
        "id": key,
        "user_id": person.id,
        "name": person.username,
        "arn": arn,
        "created_at": person.joined_at,
        "updated_at": person.joined_at,
        **_READY,
    }


def channel(person: Person, its: Possessions, vault: Vault | None) -> dict[str, Any]:
    """Return somebody's channel."""
    sealed = vault.seal(its.stream_key, row_id=person.channel_id) if vault and its.stream_key else None
    return {
        **part(person.channel_id, person, its.channel_arn),
        "updated_at": person.former[-1].ended_at if person.former else person.joined_at,
        "title": person.title,
        "playback_url": its.playback_url,
        "ingest_endpoint": its.ingest_endpoint,
        "type": its.channel_type,
        "stream_key_sealed": sealed,
        "stream_key_arn": its.stream_key_arn,
    }


def titles(world: World, categories: Mapping[str, UUID]) -> Rows:
    """Yield the channels' former titles."""
    for person in world.people:
        for former in person.former:
            yield {
                "id": former.id,
                "channel_id": person.channel_id,
                "category_id": categories[former.category] if former.category else None,
                "title": former.title,
                "ended_at": former.ended_at,
            }


def stream(crowd: Crowd, its: Possessions, category_id: UUID) -> dict[str, Any]:
    """Return a stream that was watched by the crowd."""
    one = crowd.stream
    return {
        "id": one.id,
        "channel_id": crowd.owner.channel_id,
        "category_id": category_id,
        "ivs_stream_id": (one is crowd.owner.live and its.ivs_stream_id) or one.ivs_stream_id,
        "title": one.title,
        "first_seen_at": one.connected_at,
        "session_created_at": one.connected_at,
        "started_at": one.started_at,
        "stream_ended_at": one.ended_at,
        "session_ended_at": one.ended_at,
        "recording_id": one.recorded_as,
        "starved_at": one.starved_at,
        "recovered_at": one.recovered_at,
        "viewer_count": crowd.present,
        "peak_viewer_count": crowd.peak,
        "created_at": one.connected_at,
        "updated_at": one.ended_at or one.started_at,
    }


def recording(person: Person, one: Broadcast, its: Possessions) -> dict[str, Any]:
    """Return a recording that is as good as watched: where its files would be, none are."""
    ended_at = one.ended_at or one.started_at
    # As Amazon's, or a deletion would take it for another channel's.
    channel_id = its.channel_arn.rpartition("/")[2]
    prefix = f"ivs/v1/made-up/{channel_id}/{one.started_at:%Y/%-m/%-d/%-H/%-M}/{one.ivs_stream_id[-12:]}"
    return {
        "id": one.recorded_as,
        "channel_id": person.channel_id,
        "recording_session_id": f"rec-{one.ivs_stream_id[-12:]}",
        "started_at": one.started_at,
        "over_at": ended_at,
        "duration_ms": int((ended_at - one.started_at).total_seconds() * 1000),
        "bucket": "made-up",
        "prefix": prefix,
        "playlist_key": f"{prefix}/media/hls/master.m3u8",
        "thumbnail_key": f"{prefix}/media/thumbnails/thumb0.jpg",
        "created_at": one.started_at,
        "updated_at": ended_at,
    }


def follows(world: World) -> Rows:
    """Yield who follows what."""
    for follow in world.follows:
        yield {
            "id": follow.id,
            "user_id": follow.user_id,
            "channel_id": follow.channel_id,
            "created_at": follow.since,
        }


def messages(world: World) -> Rows:
    """Yield what was said in the chat."""
    for message in talk(world):
        yield {
            "id": message.id,
            "chat_room_id": message.room_id,
            "stream_id": message.stream_id,
            "user_id": message.sender.id if message.sender else None,
            "ivs_message_id": message.ivs_message_id,
            "content": message.content,
            "sender_name": message.sender_name,
            "is_guest": message.sender is None,
            "sent_at": message.sent_at,
            "created_at": message.sent_at,
        }


def participants(owned: Owned) -> Rows:
    """Yield who is on a stage right now: its host, and the guests who have come."""
    for person, its in owned:
        gathering = person.gathering
        if gathering is None or gathering.seat is None:
            continue
        seats = [(gathering.seat, its.host_id, person.id)]
        seats += [
            (guest.seat, ticket.participant_id, guest.user_id)
            for guest, ticket in zip(gathering.guests, its.tickets, strict=True)
            if guest.seat is not None
        ]
        for seat, participant_id, user_id in seats:
            yield {
                "id": seat.id,
                "stage_id": person.stage_id,
                "ivs_session_id": its.session_id,
                "participant_id": participant_id,
                "user_id": user_id,
                "published_at": seat.since,
                "created_at": seat.since,
                "updated_at": seat.since,
            }


def invitations(owned: Owned, vault: Vault) -> Rows:
    """Yield the invitations to stages, with tokens that open for the guests."""
    for person, its in owned:
        guests = person.gathering.guests if person.gathering else ()
        for guest, ticket in zip(guests, its.tickets, strict=True):
            yield {
                "id": guest.id,
                "stage_id": person.stage_id,
                "user_id": guest.user_id,
                "participant_id": ticket.participant_id,
                "token_sealed": vault.seal(ticket.token, row_id=guest.id),
                "expires_at": ticket.expires_at,
                "created_at": guest.invited_at,
                "updated_at": guest.invited_at,
            }


def join_requests(world: World) -> Rows:
    """Yield who has asked to be invited."""
    for person in world.people:
        for request in person.gathering.requests if person.gathering else ():
            yield {
                "id": request.id,
                "stage_id": person.stage_id,
                "user_id": request.user_id,
                "state": request.state,
                "asked_at": request.asked_at,
                "created_at": request.asked_at,
                "updated_at": request.settled_at,
            }
