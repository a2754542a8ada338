"""Alembic's entry: uses the connection the program hands over, or opens the URL of ``alembic.ini``."""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import Connection, create_engine

from labeler.record.tables import Base


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    url = os.environ.get("LABELER_DATABASE") or context.config.get_main_option("sqlalchemy.url") or ""
    engine = create_engine(url)
    with engine.begin() as connection:
        run(connection)
    engine.dispose()
