"""Who is on a stage: sessions and participants, and the events they cause (facts a.3).

A session begins when the first participant joins and ends when the last one leaves. Joining causes no event on the bus;
publishing and unpublishing do.
"""

from ivs.emulator.errors import ControlError
from ivs.emulator.identity import iso, new_id, region_of, session_id
from ivs.emulator.store import Doc
from ivs.emulator.world import World

PUBLISHERS = 12


def find_stage(world: World, stage_arn: str) -> Doc:
    """The stage.

    Raises:
        ControlError: there is none (404).
    """
    stage = world.store.get("stage", stage_arn)
    if stage is None:
        raise ControlError(404, f"There is no stage {stage_arn}.")
    return stage


def connected(world: World, stage: Doc, participant_id: str) -> Doc | None:
    """The participant if connected to the stage's present session."""
    return next((doc for doc in _present(world, stage) if doc["participantId"] == participant_id), None)


def carry_on(world: World, stage: Doc, since: str) -> None:
    """A session has been going on since then, of which nothing is told."""
    session: Doc = {"sessionId": session_id(), "startTime": since, "endTime": None, "_stageArn": stage["arn"]}
    stage["activeSessionId"] = session["sessionId"]
    _keep_session(world, session)
    world.save("stage", stage)


def seat(world: World, stage: Doc, user_id: str, participant_id: str, attributes: dict[str, str], since: str) -> None:
    """A participant has been publishing since then, of which nothing is told."""
    participant = _joined(stage, user_id, participant_id, attributes, since)
    participant.update(published=True, _publishing=True)
    _note(participant, "PUBLISH_STARTED", since)
    _keep(world, participant)


def join(world: World, stage: Doc, user_id: str, participant_id: str | None, attributes: dict[str, str]) -> Doc:
    """A participant joins; the first one begins a session.

    Raises:
        ControlError: this participant is connected already (409).
    """
    if participant_id is not None and connected(world, stage, participant_id) is not None:
        raise ControlError(409, f"Participant {participant_id} is connected already.")
    if not stage["activeSessionId"]:
        carry_on(world, stage, iso(world.now()))
    participant = _joined(stage, user_id, participant_id or new_id(), attributes, iso(world.now()))
    _keep(world, participant)
    return participant


def _joined(stage: Doc, user_id: str, participant_id: str, attributes: dict[str, str], since: str) -> Doc:
    participant: Doc = {
        "participantId": participant_id,
        "userId": user_id,
        "attributes": attributes,
        "state": "CONNECTED",
        "firstJoinTime": since,
        "published": False,
        "_stageArn": stage["arn"],
        "_sessionId": stage["activeSessionId"],
        "_publishing": False,
        "_events": [],
    }
    _note(participant, "JOINED", since)
    return participant


def publish(world: World, stage: Doc, participant: Doc) -> None:
    """The participant's camera goes on: Participant Published.

    Raises:
        ControlError: publishing already (409), or the stage has 12 publishers (429).
    """
    if participant["_publishing"]:
        raise ControlError(409, "The participant publishes already.")
    if sum(doc["_publishing"] for doc in _present(world, stage)) >= PUBLISHERS:
        raise ControlError(429, f"The stage already has {PUBLISHERS} publishers.")
    # `published` means "has ever published" and stays; the present state is ours to know.
    participant.update(_publishing=True, published=True)
    _note(participant, "PUBLISH_STARTED", iso(world.now()))
    _keep(world, participant)
    _tell(world, participant, "Participant Published")


def unpublish(world: World, participant: Doc) -> None:
    """The camera goes off: Participant Unpublished; nothing when it was off."""
    if participant["_publishing"]:
        participant["_publishing"] = False
        _note(participant, "PUBLISH_STOPPED", iso(world.now()))
        _keep(world, participant)
        _tell(world, participant, "Participant Unpublished")


def leave(world: World, stage: Doc, participant: Doc) -> None:
    """The participant leaves or is disconnected; the last one ends the session."""
    _disconnect(world, participant)
    if not _present(world, stage):
        end_session(world, stage)


def end_session(world: World, stage: Doc) -> None:
    """Disconnects everyone and ends the session, if there is one."""
    session = world.store.get("session", stage["activeSessionId"])
    if session is None:
        return
    for participant in _present(world, stage):
        _disconnect(world, participant)
    session["endTime"] = iso(world.now())
    _keep_session(world, session)
    stage["activeSessionId"] = ""
    world.save("stage", stage)


def _disconnect(world: World, participant: Doc) -> None:
    unpublish(world, participant)
    participant["state"] = "DISCONNECTED"
    _note(participant, "LEFT", iso(world.now()))
    _keep(world, participant)


def _note(participant: Doc, name: str, at: str) -> None:
    """Keep what ListParticipantEvents tells."""
    participant["_events"].append({"name": name, "participantId": participant["participantId"], "eventTime": at})


def _present(world: World, stage: Doc) -> list[Doc]:
    everyone = world.store.all("participant", parent=stage["activeSessionId"])
    return [doc for doc in everyone if doc["state"] == "CONNECTED"]


def _tell(world: World, participant: Doc, name: str) -> None:
    at = world.now()
    detail = {
        "session_id": participant["_sessionId"],
        "event_name": name,
        "event_time": iso(at),
        "event_time_precise": f"{iso(at)[:-1]}.{int(at % 1 * 1_000_000_000):09d}Z",
        "user_id": participant["userId"],
        "participant_id": participant["participantId"],
    }
    stage_arn = participant["_stageArn"]
    world.emit("IVS Stage Update", [stage_arn], detail, region_of(stage_arn))


def _keep(world: World, participant: Doc) -> None:
    session, region = participant["_sessionId"], region_of(participant["_stageArn"])
    key = f"{session}/{participant['participantId']}"
    world.store.put("participant", key, participant, region=region, parent=session)


def _keep_session(world: World, session: Doc) -> None:
    stage_arn = session["_stageArn"]
    world.store.put("session", session["sessionId"], session, region=region_of(stage_arn), parent=stage_arn)
