"""The AWS operations the emulator answers, by service and name: its claim."""

from collections.abc import Callable
from typing import TypeAlias

from ivs.emulator.operations import (
    channels,
    keys,
    logging_configurations,
    messaging,
    participants,
    recording_configurations,
    rooms,
    stages,
    stream_keys,
    streams,
    tags,
)
from ivs.emulator.store import Doc
from ivs.emulator.world import Call, World

Handler: TypeAlias = Callable[[World, Call], Doc]

CLAIMED: dict[str, dict[str, Handler]] = {
    "ivs": {
        **channels.OPERATIONS,
        **stream_keys.OPERATIONS,
        **streams.OPERATIONS,
        **recording_configurations.OPERATIONS,
        **keys.PLAYBACK_OPERATIONS,
        **tags.OPERATIONS,
    },
    "ivschat": {
        **rooms.OPERATIONS,
        **messaging.OPERATIONS,
        **logging_configurations.OPERATIONS,
        **tags.OPERATIONS,
    },
    "ivs-realtime": {
        **stages.OPERATIONS,
        **participants.OPERATIONS,
        **keys.PUBLIC_KEY_OPERATIONS,
        **tags.OPERATIONS,
    },
}
