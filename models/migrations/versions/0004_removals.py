"""Removals: what is to be deleted on AWS after its owner is gone.

Works with the previous release of the code running: it does not know the table, and deletes no users.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "removals",
        sa.Column(
            "kind",
            sa.Enum("channel", "room", "stage", name="resourcekind", native_enum=False, length=16),
            nullable=False,
        ),
        sa.Column("arn", sa.Text(), nullable=True),
        sa.Column("resource_name", sa.Text(), nullable=False),
        sa.Column("settle_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("remove_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("kind IN ('channel', 'room', 'stage')", name=op.f("ck_removals_kind_known")),
        sa.CheckConstraint("arn IS NOT NULL OR settle_at IS NOT NULL", name=op.f("ck_removals_has_something_to_find")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_removals_attempts_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removals")),
        sa.UniqueConstraint("arn", name=op.f("uq_removals_arn")),
    )
    op.create_index("ix_removals_remove_after", "removals", ["remove_after"], unique=False)
    op.create_index("ix_removals_resource_name", "removals", ["resource_name"], unique=False)


def downgrade() -> None:
    """Take back. What was still to be deleted on AWS stays there, with the tags of the deployment."""
    op.drop_table("removals")
