"""Alembic's entry: runs on the connection that `models.migrate` opened and locked."""

from alembic import context

from models import Base
from models.migrate import is_ours

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    compare_type=True,
    compare_server_default=True,
    include_name=is_ours,
    transaction_per_migration=False,
)
context.run_migrations()
