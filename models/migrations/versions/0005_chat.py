"""Chat messages and bans.

Works with the previous release of the code running: it neither reads nor writes what is added here.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "chat_messages",
        sa.Column("chat_room_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("ivs_message_id", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("sender_name", sa.Text(), nullable=False),
        sa.Column("is_guest", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("ivs_message_id <> ''", name=op.f("ck_chat_messages_ivs_message_id_given")),
        sa.CheckConstraint("char_length(content) BETWEEN 1 AND 500", name=op.f("ck_chat_messages_content_length")),
        sa.CheckConstraint(
            "char_length(sender_name) BETWEEN 1 AND 64", name=op.f("ck_chat_messages_sender_name_length")
        ),
        sa.CheckConstraint("NOT is_guest OR user_id IS NULL", name=op.f("ck_chat_messages_guest_has_no_account")),
        sa.ForeignKeyConstraint(
            ["chat_room_id"],
            ["chat_rooms.id"],
            name=op.f("fk_chat_messages_chat_room_id_chat_rooms"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["streams.id"], name=op.f("fk_chat_messages_stream_id_streams"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_chat_messages_user_id_users"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_messages")),
        sa.UniqueConstraint(
            "chat_room_id", "ivs_message_id", name=op.f("uq_chat_messages_chat_room_id_ivs_message_id")
        ),
    )
    op.create_index("ix_chat_messages_user_id", "chat_messages", ["user_id"], unique=False)
    op.create_index(
        "ix_chat_messages_chat_room_id_sent_at_id", "chat_messages", ["chat_room_id", "sent_at", "id"], unique=False
    )
    op.create_index(
        "ix_chat_messages_stream_id_sent_at_id",
        "chat_messages",
        ["stream_id", "sent_at", "id"],
        unique=False,
        postgresql_where=sa.text("stream_id IS NOT NULL"),
    )
    op.create_table(
        "chat_bans",
        sa.Column("chat_room_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("enforce_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("char_length(reason) BETWEEN 1 AND 200", name=op.f("ck_chat_bans_reason_length")),
        sa.ForeignKeyConstraint(
            ["chat_room_id"], ["chat_rooms.id"], name=op.f("fk_chat_bans_chat_room_id_chat_rooms"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_chat_bans_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_bans")),
        sa.UniqueConstraint("chat_room_id", "user_id", name=op.f("uq_chat_bans_chat_room_id_user_id")),
    )
    op.create_index("ix_chat_bans_user_id", "chat_bans", ["user_id"], unique=False)
    op.create_index(
        "ix_chat_bans_chat_room_id_id", "chat_bans", ["chat_room_id", sa.literal_column("id DESC")], unique=False
    )
    op.create_index(
        "ix_chat_bans_enforce_after",
        "chat_bans",
        ["enforce_after"],
        unique=False,
        postgresql_where=sa.text("enforce_after IS NOT NULL"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("chat_bans")
    op.drop_table("chat_messages")
