"""An index of the streams of whose life Amazon has to be asked.

Works with the previous release of the code running, which does not ask for them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    unsettled = sa.text(
        "(state IN ('LIVE', 'STARTING') OR (state = 'ENDED'"
        " AND (started_at IS NULL OR (stream_ended_at IS NULL AND session_ended_at IS NULL))))"
    )
    op.create_index("ix_streams_unsettled", "streams", ["id"], postgresql_where=unsettled)


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_streams_unsettled", "streams")
