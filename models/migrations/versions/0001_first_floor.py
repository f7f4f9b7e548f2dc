"""Users, channels, chat rooms, stages, streams, the event journal.

The first tables, so there is no previous release.
"""

# ruff: noqa: E501 - a generated column stands in one string, as PostgreSQL compares it

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "categories",
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'", name=op.f("ck_categories_slug_shape")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_categories")),
        sa.UniqueConstraint("name", name=op.f("uq_categories_name")),
        sa.UniqueConstraint("slug", name=op.f("uq_categories_slug")),
    )
    op.create_index(op.f("ix_categories_position"), "categories", ["position"], unique=False)
    op.create_table(
        "paces",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paces")),
        sa.UniqueConstraint("key", name=op.f("uq_paces_key")),
        prefixes=["UNLOGGED"],
    )
    op.create_index(op.f("ix_paces_next_at"), "paces", ["next_at"], unique=False)
    op.create_table(
        "received_events",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("detail_type", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=True),
        sa.Column("door", sa.Text(), nullable=False),
        sa.Column(
            "outcome",
            sa.Enum("APPLIED", "UNMATCHED", "IGNORED", name="outcome", native_enum=False, length=16),
            nullable=False,
        ),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('APPLIED', 'UNMATCHED', 'IGNORED')", name=op.f("ck_received_events_outcome_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_received_events")),
        sa.UniqueConstraint("event_id", name=op.f("uq_received_events_event_id")),
    )
    op.create_index("ix_received_events_received_at", "received_events", ["received_at"], unique=False)
    op.create_index(
        "ix_received_events_resource_occurred_at", "received_events", ["resource", "occurred_at"], unique=False
    )
    op.create_table(
        "users",
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("username ~ '^[A-Za-z0-9][A-Za-z0-9_-]{2,29}$'", name=op.f("ck_users_username_shape")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_index("uq_users_username_lower", "users", [sa.literal_column("lower(username)")], unique=True)
    op.create_table(
        "channels",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("category_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("playback_url", sa.Text(), nullable=True),
        sa.Column("ingest_endpoint", sa.Text(), nullable=True),
        sa.Column("stream_key_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("stream_key_arn", sa.Text(), nullable=True),
        sa.Column("live_stream_id", sa.Uuid(), nullable=True),
        sa.Column("live_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("arn", sa.Text(), nullable=True),
        sa.Column(
            "provisioning",
            sa.Enum("PENDING", "READY", "FAILED", name="provisioningstate", native_enum=False, length=16),
            nullable=False,
        ),
        sa.Column("provisioning_error", sa.Text(), nullable=True),
        sa.Column("provision_attempts", sa.Integer(), nullable=False),
        sa.Column("provision_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "provisioning = 'READY' OR (provisioning = 'PENDING') = (provision_after IS NOT NULL)",
            name=op.f("ck_channels_pending_has_next_try"),
        ),
        sa.CheckConstraint("(provisioning = 'READY') = (arn IS NOT NULL)", name=op.f("ck_channels_ready_has_arn")),
        sa.CheckConstraint("name ~ '^[A-Za-z0-9][A-Za-z0-9_-]{2,29}$'", name=op.f("ck_channels_name_shape")),
        sa.CheckConstraint(
            "provisioning <> 'READY' OR (playback_url IS NOT NULL AND ingest_endpoint IS NOT NULL)",
            name=op.f("ck_channels_ready_is_playable"),
        ),
        sa.CheckConstraint(
            "provisioning IN ('PENDING', 'READY', 'FAILED')", name=op.f("ck_channels_provisioning_known")
        ),
        sa.CheckConstraint("char_length(title) BETWEEN 1 AND 140", name=op.f("ck_channels_title_length")),
        sa.CheckConstraint("live_stream_id IS NULL OR live_since IS NOT NULL", name=op.f("ck_channels_live_has_start")),
        sa.CheckConstraint("provision_attempts >= 0", name=op.f("ck_channels_attempts_positive")),
        sa.ForeignKeyConstraint(
            ["category_id"], ["categories.id"], name=op.f("fk_channels_category_id_categories"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_channels_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channels")),
        sa.UniqueConstraint("arn", name=op.f("uq_channels_arn")),
        sa.UniqueConstraint("live_stream_id", name=op.f("uq_channels_live_stream_id")),
        sa.UniqueConstraint("user_id", name=op.f("uq_channels_user_id")),
    )
    op.create_index(op.f("ix_channels_category_id"), "channels", ["category_id"], unique=False)
    op.create_index(
        "ix_channels_live_since_id",
        "channels",
        [sa.literal_column("live_since DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("live_stream_id IS NOT NULL"),
    )
    op.create_index(
        "ix_channels_provision_after",
        "channels",
        ["provision_after"],
        unique=False,
        postgresql_where=sa.text("provision_after IS NOT NULL"),
    )
    op.create_index("uq_channels_name_lower", "channels", [sa.literal_column("lower(name)")], unique=True)
    op.create_table(
        "chat_rooms",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("arn", sa.Text(), nullable=True),
        sa.Column(
            "provisioning",
            sa.Enum("PENDING", "READY", "FAILED", name="provisioningstate", native_enum=False, length=16),
            nullable=False,
        ),
        sa.Column("provisioning_error", sa.Text(), nullable=True),
        sa.Column("provision_attempts", sa.Integer(), nullable=False),
        sa.Column("provision_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "provisioning = 'READY' OR (provisioning = 'PENDING') = (provision_after IS NOT NULL)",
            name=op.f("ck_chat_rooms_pending_has_next_try"),
        ),
        sa.CheckConstraint("(provisioning = 'READY') = (arn IS NOT NULL)", name=op.f("ck_chat_rooms_ready_has_arn")),
        sa.CheckConstraint(
            "provisioning IN ('PENDING', 'READY', 'FAILED')", name=op.f("ck_chat_rooms_provisioning_known")
        ),
        sa.CheckConstraint("provision_attempts >= 0", name=op.f("ck_chat_rooms_attempts_positive")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_chat_rooms_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_rooms")),
        sa.UniqueConstraint("arn", name=op.f("uq_chat_rooms_arn")),
        sa.UniqueConstraint("user_id", name=op.f("uq_chat_rooms_user_id")),
    )
    op.create_index(
        "ix_chat_rooms_provision_after",
        "chat_rooms",
        ["provision_after"],
        unique=False,
        postgresql_where=sa.text("provision_after IS NOT NULL"),
    )
    op.create_table(
        "sessions",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_sessions_expires_after_creation")),
        sa.CheckConstraint("octet_length(token_hash) = 32", name=op.f("ck_sessions_token_hash_sha256")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_sessions_token_hash")),
    )
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"], unique=False)
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"], unique=False)
    op.create_table(
        "stages",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("arn", sa.Text(), nullable=True),
        sa.Column(
            "provisioning",
            sa.Enum("PENDING", "READY", "FAILED", name="provisioningstate", native_enum=False, length=16),
            nullable=False,
        ),
        sa.Column("provisioning_error", sa.Text(), nullable=True),
        sa.Column("provision_attempts", sa.Integer(), nullable=False),
        sa.Column("provision_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "provisioning = 'READY' OR (provisioning = 'PENDING') = (provision_after IS NOT NULL)",
            name=op.f("ck_stages_pending_has_next_try"),
        ),
        sa.CheckConstraint("(provisioning = 'READY') = (arn IS NOT NULL)", name=op.f("ck_stages_ready_has_arn")),
        sa.CheckConstraint("provisioning IN ('PENDING', 'READY', 'FAILED')", name=op.f("ck_stages_provisioning_known")),
        sa.CheckConstraint("provision_attempts >= 0", name=op.f("ck_stages_attempts_positive")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_stages_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stages")),
        sa.UniqueConstraint("arn", name=op.f("uq_stages_arn")),
        sa.UniqueConstraint("user_id", name=op.f("uq_stages_user_id")),
    )
    op.create_index(
        "ix_stages_provision_after",
        "stages",
        ["provision_after"],
        unique=False,
        postgresql_where=sa.text("provision_after IS NOT NULL"),
    )
    op.create_table(
        "streams",
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("category_id", sa.Uuid(), nullable=True),
        sa.Column("ivs_stream_id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("session_created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stream_ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("session_ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("session_end_code", sa.Text(), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failure_reason", sa.Text(), nullable=True),
        sa.Column("starved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recovered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "state",
            sa.Enum("STARTING", "LIVE", "ENDED", "FAILED", name="streamstate", native_enum=False, length=16),
            sa.Computed(
                "CASE\n WHEN stream_ended_at IS NOT NULL OR (started_at IS NOT NULL AND session_ended_at IS NOT NULL) THEN 'ENDED'\n WHEN started_at IS NOT NULL THEN 'LIVE'\n WHEN failed_at IS NOT NULL OR session_ended_at IS NOT NULL THEN 'FAILED'\n ELSE 'STARTING' END",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.Column(
            "ended_at",
            sa.DateTime(timezone=True),
            sa.Computed(
                "CASE\n WHEN stream_ended_at IS NOT NULL OR (started_at IS NOT NULL AND session_ended_at IS NOT NULL) THEN GREATEST(COALESCE(stream_ended_at, session_ended_at), started_at)\n ELSE NULL END",
                persisted=True,
            ),
            nullable=True,
        ),
        sa.Column(
            "health",
            sa.Enum("HEALTHY", "STARVING", name="streamhealth", native_enum=False, length=16),
            sa.Computed(
                "CASE\n WHEN started_at IS NULL OR stream_ended_at IS NOT NULL OR (started_at IS NOT NULL AND session_ended_at IS NOT NULL) THEN NULL\n WHEN starved_at IS NOT NULL AND (recovered_at IS NULL OR starved_at > recovered_at) THEN 'STARVING'\n ELSE 'HEALTHY' END",
                persisted=True,
            ),
            nullable=True,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("char_length(title) BETWEEN 1 AND 140", name=op.f("ck_streams_title_length")),
        sa.ForeignKeyConstraint(
            ["category_id"], ["categories.id"], name=op.f("fk_streams_category_id_categories"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channels.id"], name=op.f("fk_streams_channel_id_channels"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_streams")),
        sa.UniqueConstraint("channel_id", "ivs_stream_id", name=op.f("uq_streams_channel_id_ivs_stream_id")),
    )
    op.create_index(op.f("ix_streams_category_id"), "streams", ["category_id"], unique=False)
    op.create_index(
        "ix_streams_channel_id_started_at_id",
        "streams",
        ["channel_id", sa.literal_column("started_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("started_at IS NOT NULL"),
    )
    # Channels and streams point at each other, so the second arrow comes when both stand.
    op.create_foreign_key(
        op.f("fk_channels_live_stream_id_streams"),
        "channels",
        "streams",
        ["live_stream_id"],
        ["id"],
        ondelete="SET NULL",
    )


def downgrade() -> None:
    """Take back."""
    op.drop_constraint(op.f("fk_channels_live_stream_id_streams"), "channels", type_="foreignkey")
    op.drop_index(
        "ix_streams_channel_id_started_at_id", table_name="streams", postgresql_where=sa.text("started_at IS NOT NULL")
    )
    op.drop_index(op.f("ix_streams_category_id"), table_name="streams")
    op.drop_table("streams")
    op.drop_index(
        "ix_stages_provision_after", table_name="stages", postgresql_where=sa.text("provision_after IS NOT NULL")
    )
    op.drop_table("stages")
    op.drop_index(op.f("ix_sessions_user_id"), table_name="sessions")
    op.drop_index(op.f("ix_sessions_expires_at"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index(
        "ix_chat_rooms_provision_after",
        table_name="chat_rooms",
        postgresql_where=sa.text("provision_after IS NOT NULL"),
    )
    op.drop_table("chat_rooms")
    op.drop_index("uq_channels_name_lower", table_name="channels")
    op.drop_index(
        "ix_channels_provision_after", table_name="channels", postgresql_where=sa.text("provision_after IS NOT NULL")
    )
    op.drop_index(
        "ix_channels_live_since_id", table_name="channels", postgresql_where=sa.text("live_stream_id IS NOT NULL")
    )
    op.drop_index(op.f("ix_channels_category_id"), table_name="channels")
    op.drop_table("channels")
    op.drop_index("uq_users_username_lower", table_name="users")
    op.drop_table("users")
    op.drop_index("ix_received_events_resource_occurred_at", table_name="received_events")
    op.drop_index("ix_received_events_received_at", table_name="received_events")
    op.drop_table("received_events")
    op.drop_index(op.f("ix_paces_next_at"), table_name="paces")
    op.drop_table("paces")
    op.drop_index(op.f("ix_categories_position"), table_name="categories")
    op.drop_table("categories")
