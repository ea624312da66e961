"""Alembic's scripts. A new one is ``versions/NNNN_what.py``, and its number in `byom.catalog.migrate.REVISIONS`."""
