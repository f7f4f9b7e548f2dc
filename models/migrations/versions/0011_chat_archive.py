"""How far Amazon's chat logs are read, what was deleted there, and the order in which old messages go.

Works with the previous release of the code running: it knows neither table, and what it deletes meanwhile is deleted
again when the log tells of it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "chat_archives",
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("read_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("window_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("mark", sa.Text(), nullable=True),
        sa.Column("looks", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("read_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("(window_start IS NULL) = (window_end IS NULL)", name=op.f("ck_chat_archives_window_whole")),
        sa.CheckConstraint("mark IS NULL OR window_start IS NOT NULL", name=op.f("ck_chat_archives_mark_in_window")),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["streams.id"], name=op.f("fk_chat_archives_stream_id_streams"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_archives")),
        sa.UniqueConstraint("stream_id", name=op.f("uq_chat_archives_stream_id")),
    )
    op.create_index(
        "ix_chat_archives_read_after",
        "chat_archives",
        ["read_after"],
        unique=False,
        postgresql_where=sa.text("read_after IS NOT NULL"),
    )
    op.create_table(
        "chat_deletions",
        sa.Column("chat_room_id", sa.Uuid(), nullable=False),
        sa.Column("ivs_message_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("ivs_message_id <> ''", name=op.f("ck_chat_deletions_ivs_message_id_given")),
        sa.ForeignKeyConstraint(
            ["chat_room_id"],
            ["chat_rooms.id"],
            name=op.f("fk_chat_deletions_chat_room_id_chat_rooms"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_deletions")),
        sa.UniqueConstraint(
            "chat_room_id", "ivs_message_id", name=op.f("uq_chat_deletions_chat_room_id_ivs_message_id")
        ),
    )
    op.create_index("ix_chat_deletions_created_at", "chat_deletions", ["created_at"], unique=False)
    op.create_index("ix_chat_messages_sent_at", "chat_messages", ["sent_at"], unique=False)


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_chat_messages_sent_at", table_name="chat_messages")
    op.drop_table("chat_deletions")
    op.drop_table("chat_archives")
