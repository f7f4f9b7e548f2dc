"""The type that a channel has on Amazon.

Works with the previous release of the code running: that release stores no type, so what it creates meanwhile stays
PENDING until the new one has found it on Amazon; a partner that it makes keeps the former type in its row.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "channels",
        sa.Column(
            "type",
            sa.Enum(
                "BASIC", "STANDARD", "ADVANCED_SD", "ADVANCED_HD", name="channeltype", native_enum=False, length=16
            ),
            nullable=True,
        ),
    )
    # No row has kept what Amazon answered, and a migration neither asks Amazon nor reads settings: the defaults of
    # CHANNEL_TYPE and PARTNER_CHANNEL_TYPE, which an installation with others corrects by hand (docs/operator.md).
    op.execute(
        "UPDATE channels SET type = CASE WHEN is_partner THEN 'ADVANCED_HD' ELSE 'STANDARD' END "
        "WHERE provisioning = 'READY'"
    )
    op.create_check_constraint(
        op.f("ck_channels_type_known"), "channels", "type IN ('BASIC', 'STANDARD', 'ADVANCED_SD', 'ADVANCED_HD')"
    )
    op.create_check_constraint(
        op.f("ck_channels_ready_has_type"), "channels", "provisioning <> 'READY' OR type IS NOT NULL"
    )


def downgrade() -> None:
    """Take back."""
    for name in ("ready_has_type", "type_known"):
        op.drop_constraint(op.f(f"ck_channels_{name}"), "channels", type_="check")
    op.drop_column("channels", "type")
