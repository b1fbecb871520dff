"""Alembic's entry point: runs the migrations on the connection that sniffer.migrate hands over."""

from alembic import context  # noqa: TID251 - SQL belongs to the store and its migrations

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=None)
with context.begin_transaction():
    context.run_migrations()
