"""The store of batch jobs: tables on SQLite or PostgreSQL, artefacts by content, and what may be deleted when."""
