"""Recordings, their deletion, and the journal as the timeline of streams.

Works with the previous release of the code running: it neither reads nor writes what is added here. The computed
columns of streams are made anew with one more kind of evidence, which rewrites that table.
"""

# ruff: noqa: E501 - a generated column stands in one string, as PostgreSQL compares it

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OVER_BEFORE = "stream_ended_at IS NOT NULL OR (started_at IS NOT NULL AND session_ended_at IS NOT NULL)"
_OVER = "stream_ended_at IS NOT NULL OR recording_over_at IS NOT NULL\n OR (started_at IS NOT NULL AND session_ended_at IS NOT NULL)"


def _computed(over: str, ends: str) -> None:
    """Make the computed columns of streams anew."""
    for column in ("state", "ended_at", "health"):
        op.drop_column("streams", column)
    state = f"CASE\n WHEN {over} THEN 'ENDED'\n WHEN started_at IS NOT NULL THEN 'LIVE'\n WHEN failed_at IS NOT NULL OR session_ended_at IS NOT NULL THEN 'FAILED'\n ELSE 'STARTING' END"
    ended_at = f"CASE\n WHEN {over} THEN GREATEST(COALESCE({ends}), started_at)\n ELSE NULL END"
    health = f"CASE\n WHEN started_at IS NULL OR {over} THEN NULL\n WHEN starved_at IS NOT NULL AND (recovered_at IS NULL OR starved_at > recovered_at) THEN 'STARVING'\n ELSE 'HEALTHY' END"
    op.add_column(
        "streams",
        sa.Column(
            "state",
            sa.Enum("STARTING", "LIVE", "ENDED", "FAILED", name="streamstate", native_enum=False, length=16),
            sa.Computed(state, persisted=True),
            nullable=False,
        ),
    )
    op.add_column(
        "streams",
        sa.Column("ended_at", sa.DateTime(timezone=True), sa.Computed(ended_at, persisted=True), nullable=True),
    )
    op.add_column(
        "streams",
        sa.Column(
            "health",
            sa.Enum("HEALTHY", "STARVING", name="streamhealth", native_enum=False, length=16),
            sa.Computed(health, persisted=True),
            nullable=True,
        ),
    )


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "recordings",
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("recording_session_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("over_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("start_failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failure_reason", sa.Text(), nullable=True),
        sa.Column("bucket", sa.Text(), nullable=True),
        sa.Column("prefix", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column(
            "state",
            sa.Enum("RECORDING", "READY", "FAILED", name="recordingstate", native_enum=False, length=16),
            sa.Computed(
                "CASE\n WHEN start_failed_at IS NOT NULL OR end_failed_at IS NOT NULL THEN 'FAILED'\n WHEN over_at IS NULL THEN 'RECORDING'\n WHEN duration_ms > 0 THEN 'READY'\n ELSE 'FAILED' END",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.Column(
            "ended_at",
            sa.DateTime(timezone=True),
            sa.Computed(
                "CASE\n WHEN over_at IS NULL AND start_failed_at IS NULL AND end_failed_at IS NULL THEN NULL\n ELSE GREATEST(COALESCE(over_at, end_failed_at, start_failed_at), started_at) END",
                persisted=True,
            ),
            nullable=True,
        ),
        sa.Column("playlist_key", sa.Text(), nullable=True),
        sa.Column("thumbnail_key", sa.Text(), nullable=True),
        sa.Column("look_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("look_attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("look_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("duration_ms >= 0", name=op.f("ck_recordings_duration_positive")),
        sa.CheckConstraint("look_attempts >= 0", name=op.f("ck_recordings_attempts_positive")),
        sa.CheckConstraint(
            "playlist_key IS NULL OR (bucket IS NOT NULL AND prefix IS NOT NULL)",
            name=op.f("ck_recordings_playlist_is_kept"),
        ),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channels.id"], name=op.f("fk_recordings_channel_id_channels"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recordings")),
        sa.UniqueConstraint(
            "channel_id", "recording_session_id", name=op.f("uq_recordings_channel_id_recording_session_id")
        ),
    )
    for ahead, column in (([], "ended_at"), ([], "duration_ms"), (["channel_id"], "ended_at")):
        op.create_index(
            f"ix_recordings_ready_{'_'.join([*ahead, column, 'id'])}",
            "recordings",
            [*ahead, sa.literal_column(f"{column} DESC"), sa.literal_column("id DESC")],
            unique=False,
            postgresql_where=sa.text("state = 'READY'"),
        )
    op.create_index(
        "ix_recordings_look_after",
        "recordings",
        ["look_after"],
        unique=False,
        postgresql_where=sa.text("look_after IS NOT NULL"),
    )
    op.create_table(
        "recording_deletions",
        sa.Column("channel_id", sa.Uuid(), nullable=True),
        sa.Column("channel_arn", sa.Text(), nullable=False),
        sa.Column("recording_session_id", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=True),
        sa.Column("prefix", sa.Text(), nullable=True),
        sa.Column("delete_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delete_attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("delete_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "delete_after IS NULL OR (bucket IS NOT NULL AND prefix IS NOT NULL)",
            name=op.f("ck_recording_deletions_pending_has_place"),
        ),
        sa.CheckConstraint("delete_attempts >= 0", name=op.f("ck_recording_deletions_attempts_positive")),
        sa.ForeignKeyConstraint(
            ["channel_id"],
            ["channels.id"],
            name=op.f("fk_recording_deletions_channel_id_channels"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recording_deletions")),
        sa.UniqueConstraint(
            "channel_id", "recording_session_id", name=op.f("uq_recording_deletions_channel_id_recording_session_id")
        ),
    )
    op.create_index(
        "ix_recording_deletions_delete_after",
        "recording_deletions",
        ["delete_after"],
        unique=False,
        postgresql_where=sa.text("delete_after IS NOT NULL"),
    )
    op.add_column("streams", sa.Column("recording_id", sa.Uuid(), nullable=True))
    op.add_column("streams", sa.Column("recording_over_at", sa.DateTime(timezone=True), nullable=True))
    _computed(_OVER, "stream_ended_at, session_ended_at, recording_over_at")
    op.create_foreign_key(
        op.f("fk_streams_recording_id_recordings"),
        "streams",
        "recordings",
        ["recording_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.create_index(
        "ix_streams_recording_id_first_seen_at_id",
        "streams",
        ["recording_id", "first_seen_at", "id"],
        unique=False,
        postgresql_where=sa.text("recording_id IS NOT NULL"),
    )
    _journal()


def _journal() -> None:
    """Say in the journal which channel and stream an event was applied to, and in which order they came."""
    op.add_column("received_events", sa.Column("channel_id", sa.Uuid(), nullable=True))
    op.add_column("received_events", sa.Column("ivs_stream_id", sa.Text(), nullable=True))
    op.execute(
        "UPDATE received_events SET channel_id = channels.id, ivs_stream_id = btrim(body #>> '{detail,stream_id}')"
        " FROM channels WHERE received_events.resource = channels.arn AND outcome = 'APPLIED'"
    )
    # Numbered in the order of arrival, which adding the identity alone would leave to chance.
    op.add_column("received_events", sa.Column("position", sa.BigInteger(), nullable=True))
    op.execute(
        'UPDATE received_events SET "position" = numbered.number FROM'
        " (SELECT id, row_number() OVER (ORDER BY received_at, id) AS number FROM received_events) AS numbered"
        " WHERE received_events.id = numbered.id"
    )
    op.alter_column("received_events", "position", nullable=False)
    op.execute('ALTER TABLE received_events ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY')
    op.execute(
        "SELECT setval(pg_get_serial_sequence('received_events', 'position'), max(\"position\"))"
        " FROM received_events HAVING count(*) > 0"
    )
    op.create_foreign_key(
        op.f("fk_received_events_channel_id_channels"),
        "received_events",
        "channels",
        ["channel_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_check_constraint(
        op.f("ck_received_events_channels_are_applied"), "received_events", "channel_id IS NULL OR outcome = 'APPLIED'"
    )
    op.create_index(
        "ix_received_events_channel_id_position", "received_events", ["channel_id", "position"], unique=False
    )
    op.create_index(
        "ix_received_events_channel_id_ivs_stream_id_occurred_at",
        "received_events",
        ["channel_id", "ivs_stream_id", "occurred_at", "position"],
        unique=False,
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_received_events_channel_id_ivs_stream_id_occurred_at", table_name="received_events")
    op.drop_index("ix_received_events_channel_id_position", table_name="received_events")
    op.drop_constraint(op.f("ck_received_events_channels_are_applied"), "received_events", type_="check")
    op.drop_constraint(op.f("fk_received_events_channel_id_channels"), "received_events", type_="foreignkey")
    for column in ("position", "ivs_stream_id", "channel_id"):
        op.drop_column("received_events", column)
    op.drop_index(
        "ix_streams_recording_id_first_seen_at_id",
        table_name="streams",
        postgresql_where=sa.text("recording_id IS NOT NULL"),
    )
    op.drop_constraint(op.f("fk_streams_recording_id_recordings"), "streams", type_="foreignkey")
    _computed(_OVER_BEFORE, "stream_ended_at, session_ended_at")
    op.drop_column("streams", "recording_over_at")
    op.drop_column("streams", "recording_id")
    op.drop_table("recording_deletions")
    op.drop_table("recordings")
