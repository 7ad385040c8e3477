"""Runs migrations on the connection that `runs.store.migrating` hands over, within its transaction."""

from __future__ import annotations

from alembic import context

from tracescribe.runs.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
