"""Follows, and the number of followers on each channel.

Works with the previous release of the code running: it neither reads nor writes what is added here.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# One update per statement and channel, whatever removes the follows: an unfollow, or the end of a user.
_COUNT = """
CREATE FUNCTION count_followers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE channels
       SET follower_count = follower_count + changed.difference
      FROM (
        SELECT channel_id, count(*) * (CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END) AS difference
          FROM changed_follows GROUP BY channel_id ORDER BY channel_id
      ) AS changed
     WHERE channels.id = changed.channel_id;
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    """Apply."""
    op.add_column("channels", sa.Column("follower_count", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.create_check_constraint(op.f("ck_channels_follower_count_positive"), "channels", "follower_count >= 0")
    op.create_table(
        "follows",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channels.id"], name=op.f("fk_follows_channel_id_channels"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_follows_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_follows")),
    )
    op.create_index("uq_follows_user_id_channel_id", "follows", ["user_id", "channel_id"], unique=True)
    op.create_index("ix_follows_channel_id_id", "follows", ["channel_id", sa.literal_column("id DESC")], unique=False)
    op.execute(_COUNT)
    for event, table in (("INSERT", "NEW"), ("DELETE", "OLD")):
        op.execute(
            f"CREATE TRIGGER count_followers_{event.lower()} AFTER {event} ON follows "
            f"REFERENCING {table} TABLE AS changed_follows FOR EACH STATEMENT EXECUTE FUNCTION count_followers()"
        )


def downgrade() -> None:
    """Take back."""
    op.drop_table("follows")
    op.execute("DROP FUNCTION count_followers()")
    op.drop_constraint(op.f("ck_channels_follower_count_positive"), "channels", type_="check")
    op.drop_column("channels", "follower_count")
