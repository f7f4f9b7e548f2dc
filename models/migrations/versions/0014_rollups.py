"""Roll-ups of heartbeats by minutes, and the triggers that mark what they lack.

Works with the previous release of the code running, whose heartbeats are marked like all others. What is there already
is marked here, and rolled up by the worker.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_READINGS = ("latency_seconds", "buffer_seconds", "bitrate", "framerate")
_KINDS = "'viewers', 'browsers', 'systems', 'qualities', 'present', 'watched'"

# Few that come late are marked one by one, so that the job need not look at all that came since.
_MARK_HEARTBEATS = """
CREATE FUNCTION mark_heartbeats() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO metric_marks (stream_id, minute, viewing_id)
    SELECT DISTINCT stream_id, minute, CASE WHEN count(*) OVER (PARTITION BY stream_id, is_late) <= 1000 THEN late END
      FROM (
        SELECT DISTINCT stream_id, minute, minute < now() - interval '5 minutes' AS is_late,
               CASE WHEN minute < now() - interval '5 minutes' THEN viewing_id END AS late
          FROM (
            SELECT stream_id, viewing_id, date_bin('1 minute', sent_at, TIMESTAMPTZ '1970-01-01 00:00+00') AS minute
              FROM added
          ) AS beats
      ) AS touched;
    RETURN NULL;
END
$$
"""
_MARK_END = """
CREATE FUNCTION mark_stream_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO metric_marks (stream_id, minute)
    VALUES (NEW.id, date_bin('1 minute', least(OLD.ended_at, NEW.ended_at), TIMESTAMPTZ '1970-01-01 00:00+00'));
    RETURN NULL;
END
$$
"""
_ON_HEARTBEATS = """
CREATE TRIGGER mark_heartbeats AFTER INSERT ON metrics REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION mark_heartbeats()
"""
_ON_END = """
CREATE TRIGGER mark_stream_end AFTER UPDATE OF ended_at ON streams FOR EACH ROW
WHEN (OLD.ended_at IS DISTINCT FROM NEW.ended_at) EXECUTE FUNCTION mark_stream_end()
"""
_MARK_ALL = """
INSERT INTO metric_marks (stream_id, minute)
SELECT DISTINCT stream_id, date_bin('1 minute', sent_at, TIMESTAMPTZ '1970-01-01 00:00+00') FROM metrics
"""


def _of_stream(table: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["streams.id"], name=op.f(f"fk_{table}_stream_id_streams"), ondelete="CASCADE"
        ),
    ]


def upgrade() -> None:
    """Apply."""
    op.create_table("metric_marks", *_of_stream("metric_marks"), sa.Column("viewing_id", sa.Uuid(), nullable=True))
    op.create_index("ix_metric_marks_stream_id_minute", "metric_marks", ["stream_id", "minute"])
    op.create_table(
        "metric_minutes",
        *_of_stream("metric_minutes"),
        sa.Column("heartbeats", sa.Integer(), nullable=False),
        *(
            column
            for name in _READINGS
            for column in (
                sa.Column(f"{name}_sum", sa.Float(), nullable=True),
                sa.Column(f"{name}_count", sa.Integer(), nullable=False),
            )
        ),
        sa.PrimaryKeyConstraint("stream_id", "minute", name=op.f("pk_metric_minutes")),
    )
    op.create_table(
        "metric_counts",
        *_of_stream("metric_counts"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("previous", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(f"kind IN ({_KINDS})", name=op.f("ck_metric_counts_kind_known")),
        sa.PrimaryKeyConstraint("stream_id", "kind", "previous", "minute", "name", name=op.f("pk_metric_counts")),
    )
    op.create_index("ix_metric_counts_stream_id_minute", "metric_counts", ["stream_id", "minute"])
    for statement in (_MARK_HEARTBEATS, _MARK_END, _ON_HEARTBEATS, _ON_END, _MARK_ALL):
        op.execute(statement)


def downgrade() -> None:
    """Take back."""
    op.execute("DROP TRIGGER mark_stream_end ON streams")
    op.execute("DROP TRIGGER mark_heartbeats ON metrics")
    op.execute("DROP FUNCTION mark_stream_end()")
    op.execute("DROP FUNCTION mark_heartbeats()")
    for table in ("metric_counts", "metric_minutes", "metric_marks"):
        op.drop_table(table)
