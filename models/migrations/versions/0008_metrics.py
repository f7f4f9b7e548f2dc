"""Heartbeats of viewers, live counts, and who may watch.

Works with the previous release of the code running: what is added has defaults, and that release reads none of it; but
its workers fail at what a channel that became private has still to be told, and leave it to the new ones.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# The worker makes the days after these.
_PARTITIONS = """
DO $$
DECLARE
    day date;
BEGIN
    FOR ahead IN -1..7 LOOP
        day := (now() AT TIME ZONE 'UTC')::date + ahead;
        EXECUTE format(
            'CREATE TABLE metrics_%s PARTITION OF metrics FOR VALUES FROM (%L) TO (%L)',
            to_char(day, 'YYYYMMDD'), day || '+00', (day + 1) || '+00'
        );
    END LOOP;
END
$$
"""


def upgrade() -> None:
    """Apply."""
    _channels()
    _streams()
    _metrics()


def _channels() -> None:
    op.add_column("channels", sa.Column("viewer_count", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column(
        "channels",
        sa.Column(
            "playback_access",
            sa.Enum("PUBLIC", "SIGNED_IN", "FOLLOWERS", name="playbackaccess", native_enum=False, length=16),
            server_default="PUBLIC",
            nullable=False,
        ),
    )
    op.add_column("channels", sa.Column("is_authorized", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_check_constraint(op.f("ck_channels_viewer_count_positive"), "channels", "viewer_count >= 0")
    op.create_check_constraint(
        op.f("ck_channels_playback_access_known"), "channels", "playback_access IN ('PUBLIC', 'SIGNED_IN', 'FOLLOWERS')"
    )
    op.create_check_constraint(
        op.f("ck_channels_private_asks_for_token"), "channels", "is_authorized OR playback_access = 'PUBLIC'"
    )
    op.create_index(
        "ix_channels_viewer_count_id",
        "channels",
        [sa.literal_column("viewer_count DESC"), sa.literal_column("id DESC")],
    )
    _chores("'STREAM_KEY', 'PARTNER', 'ACCESS'")


def _chores(kinds: str) -> None:
    op.drop_constraint(op.f("ck_chores_kind_known"), "chores", type_="check")
    op.create_check_constraint(op.f("ck_chores_kind_known"), "chores", f"kind IN ({kinds})")


def _streams() -> None:
    for column in ("viewer_count", "peak_viewer_count"):
        op.add_column("streams", sa.Column(column, sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.create_check_constraint(
        op.f("ck_streams_viewer_count_below_peak"), "streams", "viewer_count BETWEEN 0 AND peak_viewer_count"
    )
    op.create_index("ix_streams_watched", "streams", ["id"], postgresql_where=sa.text("viewer_count > 0"))


def _metrics() -> None:
    texts = (
        "ip",
        "user_agent",
        "browser_name",
        "browser_version",
        "os",
        "time_zone",
        "available_resolution",
        "current_resolution",
        "quality",
        "codecs",
    )
    numbers: dict[str, sa.types.TypeEngine[Any]] = {
        "bitrate": sa.Integer(),
        "framerate": sa.Float(),
        "latency_seconds": sa.Float(),
        "buffer_seconds": sa.Float(),
    }
    op.create_table(
        "metrics",
        sa.Column("viewing_started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("viewing_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in texts),
        sa.Column("is_mobile", sa.Boolean(), nullable=True),
        *(sa.Column(name, kind, nullable=True) for name, kind in numbers.items()),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("sent_at <= created_at", name=op.f("ck_metrics_sent_before_it_came")),
        *(
            sa.CheckConstraint(f"{name} >= 0 AND {name} < 1e10", name=op.f(f"ck_metrics_{name}_sane"))
            for name in numbers
        ),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["streams.id"], name=op.f("fk_metrics_stream_id_streams"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", "viewing_started_at", name=op.f("pk_metrics")),
        postgresql_partition_by="RANGE (viewing_started_at)",
    )
    op.create_index(
        "ix_metrics_stream_id_sent_at_id",
        "metrics",
        ["stream_id", sa.literal_column("sent_at DESC"), sa.literal_column("id DESC")],
    )
    op.create_index("ix_metrics_viewing_id_created_at", "metrics", ["viewing_id", sa.literal_column("created_at DESC")])
    op.execute(_PARTITIONS)


def downgrade() -> None:
    """Take back."""
    op.drop_table("metrics")
    op.drop_index("ix_streams_watched", table_name="streams", postgresql_where=sa.text("viewer_count > 0"))
    op.drop_constraint(op.f("ck_streams_viewer_count_below_peak"), "streams", type_="check")
    for column in ("peak_viewer_count", "viewer_count"):
        op.drop_column("streams", column)
    op.execute("DELETE FROM chores WHERE kind = 'ACCESS'")
    _chores("'STREAM_KEY', 'PARTNER'")
    op.drop_index("ix_channels_viewer_count_id", table_name="channels")
    for name in ("private_asks_for_token", "playback_access_known", "viewer_count_positive"):
        op.drop_constraint(op.f(f"ck_channels_{name}"), "channels", type_="check")
    for column in ("is_authorized", "playback_access", "viewer_count"):
        op.drop_column("channels", column)
