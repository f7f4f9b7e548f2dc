"""Former titles, edits of streams, chores on Amazon, partners, and the orders and the search of channels.

Works with the previous release of the code running: what is added has defaults, and that release reads none of it. What
it renames meanwhile has no history; what it records of streams meanwhile has the title of that moment, as before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    # Trusted since PostgreSQL 13: whoever may create tables may create it.
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.create_table(
        "channel_titles",
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("category_id", sa.Uuid(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("char_length(title) BETWEEN 1 AND 140", name=op.f("ck_channel_titles_title_length")),
        sa.ForeignKeyConstraint(
            ["category_id"],
            ["categories.id"],
            name=op.f("fk_channel_titles_category_id_categories"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channels.id"], name=op.f("fk_channel_titles_channel_id_channels"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channel_titles")),
    )
    op.create_index(op.f("ix_channel_titles_category_id"), "channel_titles", ["category_id"], unique=False)
    op.create_index(
        "ix_channel_titles_channel_id_ended_at_id", "channel_titles", ["channel_id", "ended_at", "id"], unique=False
    )
    op.create_table(
        "chores",
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind", sa.Enum("STREAM_KEY", "PARTNER", name="chorekind", native_enum=False, length=16), nullable=False
        ),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("kind IN ('STREAM_KEY', 'PARTNER')", name=op.f("ck_chores_kind_known")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_chores_attempts_positive")),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channels.id"], name=op.f("fk_chores_channel_id_channels"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chores")),
    )
    op.create_index(op.f("ix_chores_due_at"), "chores", ["due_at"], unique=False)
    op.create_index("uq_chores_channel_id_kind", "chores", ["channel_id", "kind"], unique=True)
    for edited in ("title_edited", "category_edited"):
        op.add_column("streams", sa.Column(edited, sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("channels", sa.Column("is_partner", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column(
        "channels",
        sa.Column(
            "listed_at",
            sa.DateTime(timezone=True),
            sa.Computed(
                "CASE WHEN live_stream_id IS NULL THEN '1970-01-01 00:00:00+00'::timestamptz ELSE live_since END",
                persisted=True,
            ),
            nullable=False,
        ),
    )
    op.add_column(
        "channels",
        sa.Column("name_order", sa.Text(collation="C"), sa.Computed("lower(name)", persisted=True), nullable=False),
    )
    _channel_indexes()
    # Its successor begins with the same column.
    op.drop_index(op.f("ix_channels_category_id"), table_name="channels")


def _channel_indexes() -> None:
    op.create_index(
        "ix_channels_live_category_id",
        "channels",
        ["category_id", sa.literal_column("live_since DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("live_stream_id IS NOT NULL"),
    )
    for name, columns in (
        ("ix_channels_category_id_listed_at_id", ("category_id", "listed_at DESC", "id DESC")),
        ("ix_channels_listed_at_id", ("listed_at DESC", "id DESC")),
        ("ix_channels_follower_count_id", ("follower_count DESC", "id DESC")),
    ):
        op.create_index(name, "channels", [sa.literal_column(column) for column in columns], unique=False)
    op.create_index("uq_channels_name_order", "channels", ["name_order"], unique=True)
    op.create_index(
        "ix_channels_name_title_trigrams",
        "channels",
        ["name", "title"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"name": "gin_trgm_ops", "title": "gin_trgm_ops"},
    )


def downgrade() -> None:
    """Take back; the extension stays, since others may have found it."""
    op.create_index(op.f("ix_channels_category_id"), "channels", ["category_id"], unique=False)
    for name in (
        "ix_channels_name_title_trigrams",
        "uq_channels_name_order",
        "ix_channels_follower_count_id",
        "ix_channels_listed_at_id",
        "ix_channels_category_id_listed_at_id",
        "ix_channels_live_category_id",
    ):
        op.drop_index(name, table_name="channels")
    for column in ("name_order", "listed_at", "is_partner"):
        op.drop_column("channels", column)
    for column in ("category_edited", "title_edited"):
        op.drop_column("streams", column)
    op.drop_table("chores")
    op.drop_table("channel_titles")
