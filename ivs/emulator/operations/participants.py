"""Sessions and participants of a stage (facts a.5, b.4)."""

from ivs.emulator.errors import constraint, not_found
from ivs.emulator.paging import page
from ivs.emulator.store import Doc, pick, public
from ivs.emulator.world import Call, World

SUMMARY = ("participantId", "userId", "state", "firstJoinTime", "published")
FILTERS = {"filterByUserId": "userId", "filterByPublished": "published", "filterByState": "state"}


def list_stage_sessions(world: World, call: Call) -> Doc:
    """ListStageSessions: newest first; empty for a stage nobody joined."""
    rows = world.store.rows("session", parent=call.params["stageArn"])
    return page(world, call, "stageSessions", rows, _session, newest_first=True, size=50)


def get_stage_session(world: World, call: Call) -> Doc:
    """GetStageSession."""
    return {"stageSession": _session(_find_session(world, call))}


def list_participants(world: World, call: Call) -> Doc:
    """ListParticipants: newest first, with at most one filter; nobody is recorded, so that filter finds nobody."""
    chosen = [name for name in (*FILTERS, "filterByRecordingState") if name in call.params]
    if len(chosen) > 1:
        raise constraint(chosen[1], f"It must not be given together with {chosen[0]}")
    rows = (row for row in world.store.rows("participant", parent=call.params["sessionId"]) if _chosen(row[1], call))
    return page(world, call, "participants", rows, lambda doc: pick(doc, *SUMMARY), newest_first=True, size=50)


def get_participant(world: World, call: Call) -> Doc:
    """GetParticipant."""
    _find_session(world, call)
    for doc in world.store.all("participant", parent=call.params["sessionId"]):
        if doc["participantId"] == call.params["participantId"]:
            return {"participant": public(doc)}
    raise not_found(call.params["participantId"])


def list_participant_events(world: World, call: Call) -> Doc:
    """ListParticipantEvents: newest first, as in the example of AWS's CLI; empty for somebody who was never there."""
    kept = world.store.get("participant", f"{call.params['sessionId']}/{call.params['participantId']}")
    known = kept is not None and kept["_stageArn"] == call.params["stageArn"]
    rows = enumerate(kept["_events"]) if kept is not None and known else ()
    return page(world, call, "events", rows, dict, newest_first=True, size=50)


def _chosen(doc: Doc, call: Call) -> bool:
    if doc["_stageArn"] != call.params["stageArn"] or "filterByRecordingState" in call.params:
        return False
    return all(doc[member] == call.params[name] for name, member in FILTERS.items() if name in call.params)


def _find_session(world: World, call: Call) -> Doc:
    session = world.store.get("session", call.params["sessionId"])
    if session is None or session["_stageArn"] != call.params["stageArn"]:
        raise not_found(call.params["sessionId"])
    return session


def _session(doc: Doc) -> Doc:
    return {name: value for name, value in public(doc).items() if value is not None}


OPERATIONS = {
    "ListStageSessions": list_stage_sessions,
    "GetStageSession": get_stage_session,
    "ListParticipants": list_participants,
    "GetParticipant": get_participant,
    "ListParticipantEvents": list_participant_events,
}
