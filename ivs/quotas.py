"""Rates that AWS grants an account per region and that cannot be raised, in calls per second.

Source: IVS guides, "Service quotas", API call rate quotas: each operation on channels, streams, stream keys, rooms and
stages has its own 5 per second.
"""

CONTROL_PLANE_RATE = 5.0

PACED_OPERATIONS = frozenset(
    {
        *(
            f"ivs.{operation}"
            for operation in (
                "create_channel",
                "get_channel",
                "list_channels",
                "update_channel",
                "delete_channel",
                "list_streams",
                "get_stream_session",
                "create_stream_key",
                "get_stream_key",
                "list_stream_keys",
                "delete_stream_key",
                "stop_stream",
            )
        ),
        *(f"ivschat.{operation}" for operation in ("create_room", "get_room", "list_rooms", "delete_room")),
        *(
            f"ivs-realtime.{operation}"
            for operation in (
                "create_stage",
                "get_stage",
                "list_stages",
                "delete_stage",
                "disconnect_participant",
                "get_stage_session",
                "list_participants",
                "list_participant_events",
            )
        ),
    }
)
