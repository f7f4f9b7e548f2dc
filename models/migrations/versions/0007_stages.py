"""Who is on stage, invitations to it, requests for one, and what was taken back.

Works with the previous release of the code running: it neither reads nor writes what is added here, and a stage's name
has always been its owner's, which is unique.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "stage_join_requests",
        sa.Column("stage_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("OPEN", "ACCEPTED", "REFUSED", name="joinrequeststate", native_enum=False, length=16),
            nullable=False,
        ),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("state IN ('OPEN', 'ACCEPTED', 'REFUSED')", name=op.f("ck_stage_join_requests_state_known")),
        sa.ForeignKeyConstraint(
            ["stage_id"], ["stages.id"], name=op.f("fk_stage_join_requests_stage_id_stages"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_stage_join_requests_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_join_requests")),
        sa.UniqueConstraint("stage_id", "user_id", name=op.f("uq_stage_join_requests_stage_id_user_id")),
    )
    op.create_index(
        "ix_stage_join_requests_open",
        "stage_join_requests",
        ["stage_id", sa.literal_column("asked_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("state = 'OPEN'"),
    )
    op.create_index(op.f("ix_stage_join_requests_user_id"), "stage_join_requests", ["user_id"], unique=False)
    op.create_table(
        "stage_participants",
        sa.Column("stage_id", sa.Uuid(), nullable=False),
        sa.Column("ivs_session_id", sa.Text(), nullable=False),
        sa.Column("participant_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("unpublished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "on_stage",
            sa.Boolean(),
            sa.Computed(
                "published_at IS NOT NULL AND (unpublished_at IS NULL OR published_at > unpublished_at)", persisted=True
            ),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["stage_id"], ["stages.id"], name=op.f("fk_stage_participants_stage_id_stages"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_participants")),
        sa.UniqueConstraint(
            "stage_id",
            "ivs_session_id",
            "participant_id",
            name=op.f("uq_stage_participants_stage_id_ivs_session_id_participant_id"),
        ),
    )
    op.create_index(op.f("ix_stage_participants_user_id"), "stage_participants", ["user_id"], unique=False)
    op.create_index(
        "ix_stage_participants_on_stage",
        "stage_participants",
        ["stage_id", "published_at", "id"],
        unique=False,
        postgresql_where=sa.text("on_stage"),
    )
    op.create_table(
        "stage_revocations",
        sa.Column("stage_id", sa.Uuid(), nullable=False),
        sa.Column("participant_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("is_disconnected", sa.Boolean(), nullable=False),
        sa.Column("disconnect_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "participant_id ~ '^[A-Za-z0-9_-]{1,64}$'", name=op.f("ck_stage_revocations_participant_id_shape")
        ),
        sa.CheckConstraint("char_length(reason) <= 128", name=op.f("ck_stage_revocations_reason_length")),
        sa.ForeignKeyConstraint(
            ["stage_id"], ["stages.id"], name=op.f("fk_stage_revocations_stage_id_stages"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_revocations")),
        sa.UniqueConstraint("stage_id", "participant_id", name=op.f("uq_stage_revocations_stage_id_participant_id")),
    )
    op.create_index("ix_stage_revocations_disconnect_after", "stage_revocations", ["disconnect_after"], unique=False)
    op.create_index(op.f("ix_stage_revocations_user_id"), "stage_revocations", ["user_id"], unique=False)
    op.create_index(op.f("ix_stage_revocations_expires_at"), "stage_revocations", ["expires_at"], unique=False)
    op.create_table(
        "stage_tokens",
        sa.Column("stage_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("participant_id", sa.Text(), nullable=False),
        sa.Column("token_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "participant_id ~ '^[A-Za-z0-9_-]{1,64}$'", name=op.f("ck_stage_tokens_participant_id_shape")
        ),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_stage_tokens_expires_after_creation")),
        sa.ForeignKeyConstraint(
            ["stage_id"], ["stages.id"], name=op.f("fk_stage_tokens_stage_id_stages"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_stage_tokens_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_tokens")),
        sa.UniqueConstraint("stage_id", "user_id", name=op.f("uq_stage_tokens_stage_id_user_id")),
    )
    op.create_index(
        "ix_stage_tokens_stage_id_id", "stage_tokens", ["stage_id", sa.literal_column("id DESC")], unique=False
    )
    op.create_index(
        "ix_stage_tokens_user_id_id", "stage_tokens", ["user_id", sa.literal_column("id DESC")], unique=False
    )
    op.add_column("stages", sa.Column("live_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("stages", sa.Column("events_url", sa.Text(), nullable=True))
    op.add_column("stages", sa.Column("whip_url", sa.Text(), nullable=True))
    op.add_column("stages", sa.Column("endpoints_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_stages_live_since_id",
        "stages",
        [sa.literal_column("live_since DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("live_since IS NOT NULL"),
    )
    op.create_index("uq_stages_name_lower", "stages", [sa.literal_column("lower(name)")], unique=True)


def downgrade() -> None:
    """Take back."""
    op.drop_index("uq_stages_name_lower", table_name="stages")
    op.drop_index("ix_stages_live_since_id", table_name="stages", postgresql_where=sa.text("live_since IS NOT NULL"))
    op.drop_column("stages", "endpoints_at")
    op.drop_column("stages", "whip_url")
    op.drop_column("stages", "events_url")
    op.drop_column("stages", "live_since")
    op.drop_index("ix_stage_tokens_user_id_id", table_name="stage_tokens")
    op.drop_index("ix_stage_tokens_stage_id_id", table_name="stage_tokens")
    op.drop_table("stage_tokens")
    op.drop_index(op.f("ix_stage_revocations_expires_at"), table_name="stage_revocations")
    op.drop_index(op.f("ix_stage_revocations_user_id"), table_name="stage_revocations")
    op.drop_index("ix_stage_revocations_disconnect_after", table_name="stage_revocations")
    op.drop_table("stage_revocations")
    op.drop_index(
        "ix_stage_participants_on_stage", table_name="stage_participants", postgresql_where=sa.text("on_stage")
    )
    op.drop_index(op.f("ix_stage_participants_user_id"), table_name="stage_participants")
    op.drop_table("stage_participants")
    op.drop_index(op.f("ix_stage_join_requests_user_id"), table_name="stage_join_requests")
    op.drop_index(
        "ix_stage_join_requests_open", table_name="stage_join_requests", postgresql_where=sa.text("state = 'OPEN'")
    )
    op.drop_table("stage_join_requests")
