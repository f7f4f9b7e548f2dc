"""How often S3 was searched for the recording of a stream of which no event told one.

Works with the previous release of the code running, which neither reads nor writes it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("streams", sa.Column("recording_looks", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("streams", sa.Column("recording_look_after", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f("ck_streams_recording_looks_positive"), "streams", "recording_looks >= 0")
    op.create_index(
        "ix_streams_unrecorded_ended_at",
        "streams",
        ["ended_at"],
        unique=False,
        postgresql_where=sa.text("recording_id IS NULL AND started_at IS NOT NULL"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_streams_unrecorded_ended_at", table_name="streams")
    op.drop_column("streams", "recording_look_after")
    op.drop_column("streams", "recording_looks")
