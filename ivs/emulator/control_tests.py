"""The control door's part for tests: calls, faults, limits, settings, tokens."""

from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from ivs.emulator import broadcasts, recordings, tokens
from ivs.emulator.errors import ControlError
from ivs.emulator.faults import Fault
from ivs.emulator.store import Doc
from ivs.emulator.world import World

FAULT_MEMBERS = {member.name for member in fields(Fault)} - {"id", "lifted"}


def health(_world: World, _body: Doc) -> Any:
    """GET health."""
    return {"status": "ok"}


def list_calls(world: World, body: Doc) -> Any:
    """GET calls[?service=&operation=]: oldest first."""
    return {"calls": world.calls.list(body.get("service"), body.get("operation"))}


def clear_calls(world: World, _body: Doc) -> Any:
    """POST calls/clear."""
    world.calls.clear()
    return {}


def add_fault(world: World, body: Doc) -> Any:
    """POST faults."""
    unknown = sorted(set(body) - FAULT_MEMBERS)
    if unknown:
        raise ControlError(400, f"A fault has no {', '.join(unknown)}; it has {', '.join(sorted(FAULT_MEMBERS))}.")
    if not body.get("kind") or not body.get("operation"):
        raise ControlError(400, "A fault needs kind and operation.")
    return world.faults.add(Fault(**body)).shown()


def list_faults(world: World, _body: Doc) -> Any:
    """GET faults."""
    return {"faults": world.faults.list()}


def clear_faults(world: World, _body: Doc, fault_id: str | None = None) -> Any:
    """DELETE faults, DELETE faults/ID."""
    world.faults.clear(int(fault_id) if fault_id else None)
    return {}


def set_limits(world: World, body: Doc) -> Any:
    """POST limits."""
    if not isinstance(body.get("enforce"), bool):
        raise ControlError(400, "enforce must be true or false.")
    world.limits.set(enforce=body["enforce"])
    return {}


def set_settings(world: World, body: Doc) -> Any:
    """POST settings: those that are given change; answers all of them."""
    settings = world.settings
    names = {"silenceSeconds": "silence_seconds", "creatingSeconds": "creating_seconds"}
    unknown = sorted(set(body) - {*names, "quotas", "recordingOutcome"})
    strange = sorted(set(body.get("quotas", {})) - set(settings.quotas))
    if unknown or strange:
        raise ControlError(400, f"There is no setting {', '.join(unknown + strange)}.")
    outcome = body.get("recordingOutcome", settings.recording_outcome)
    if outcome not in recordings.OUTCOMES:
        raise ControlError(400, f"recordingOutcome must be one of {', '.join(recordings.OUTCOMES)}.")
    settings.recording_outcome = outcome
    for name, attribute in names.items():
        setattr(settings, attribute, float(body.get(name, getattr(settings, attribute))))
    settings.quotas.update(body.get("quotas", {}))
    shown = asdict(settings)
    shown = {**{name: shown[attribute] for name, attribute in names.items()}, "quotas": shown["quotas"]}
    return {**shown, "recordingOutcome": settings.recording_outcome}


def set_clock(world: World, body: Doc) -> Any:
    """POST clock: stop it at a moment, through all that happens by itself on the way; `at` null lets it go again."""
    at = body.get("at")
    if at is None:
        world.set_clock(None)
        return {}
    try:
        moment = datetime.fromisoformat(str(at)).timestamp()
    except ValueError as error:
        raise ControlError(400, "at must be a time in ISO 8601, or null.") from error
    for one in [*recordings.due(world, moment), moment]:
        world.set_clock(one)
        broadcasts.sweep(world)
    return {}


def check_token(world: World, body: Doc) -> Any:
    """POST tokens/check: the claims of a chat or stage token that is valid now."""
    return {"claims": tokens.check(world, str(body.get("token", "")), use=bool(body.get("use", False)))}


ACTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("GET", "health"): health,
    ("GET", "calls"): list_calls,
    ("POST", "calls/clear"): clear_calls,
    ("GET", "faults"): list_faults,
    ("POST", "faults"): add_fault,
    ("DELETE", "faults"): clear_faults,
    ("DELETE", r"faults/(\d+)"): clear_faults,
    ("POST", "limits"): set_limits,
    ("POST", "settings"): set_settings,
    ("POST", "clock"): set_clock,
    ("POST", "tokens/check"): check_token,
}
