"""Amazon's own count of the views of a stream.

Works with the previous release of the code running, which neither reads nor writes it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("streams", sa.Column("concurrent_views", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("streams", "concurrent_views")
