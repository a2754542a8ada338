"""sorting

Revision: 0004
After: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

#: Table -> its constraint on a column's words, as the first migration wrote it, and as it is from now on.
WORDS = {
    'image': ('split', "'unlabelled', 'train', 'validation', 'test'", "'sorted'"),
    'decision': ('action', "'confirm', 'correct', 'skip', 'undo', 'import'", "'sort'"),
}


def upgrade() -> None:
    for table, (column, words, word) in WORDS.items():
        _change_words(table, column, words, f"{words}, {word}")

    op.create_table('sort_run',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('model_version_id', sa.Integer(), nullable=False),
    sa.Column('above', sa.Double(), nullable=False),
    sa.Column('seed', sa.Integer(), nullable=False),
    sa.Column('audit', sa.Integer(), nullable=False),
    sa.Column('pool', sa.Integer(), nullable=False),
    sa.Column('planned', sa.Integer(), nullable=False),
    sa.Column('passed_over', sa.Integer(), nullable=False),
    sa.Column('undone', sa.Integer(), nullable=False),
    sa.Column('sorted_to', sa.Integer(), nullable=False),
    sa.Column('undone_to', sa.Integer(), nullable=False),
    sa.Column('expected', sa.JSON(), nullable=False),
    sa.Column('created_at', sa.DateTime(), nullable=False),
    sa.Column('finished_at', sa.DateTime(), nullable=True),
    sa.Column('undone_at', sa.DateTime(), nullable=True),
    sa.CheckConstraint("state IN ('planning', 'sorting', 'done', 'undoing', 'undone')", name=op.f('ck_sort_run_state_known')),
    sa.ForeignKeyConstraint(['model_version_id'], ['model_version.id'], name=op.f('fk_sort_run_model_version_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_sort_run'))
    )
    op.create_index(op.f('ix_sort_run_state'), 'sort_run', ['state'], unique=False)
    op.create_table('sort_item',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('run_id', sa.Integer(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('image_id', sa.Integer(), nullable=False),
    sa.Column('label', sa.String(length=64), nullable=False),
    sa.Column('probability', sa.Double(), nullable=False),
    sa.Column('uncertainty', sa.Double(), nullable=False),
    sa.Column('passed_over', sa.Boolean(), nullable=False),
    sa.Column('audit', sa.Integer(), nullable=True),
    sa.ForeignKeyConstraint(['image_id'], ['image.id'], name=op.f('fk_sort_item_image_id')),
    sa.ForeignKeyConstraint(['run_id'], ['sort_run.id'], name=op.f('fk_sort_item_run_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_sort_item')),
    sa.UniqueConstraint('run_id', 'image_id', name=op.f('uq_sort_item_run_id_image_id')),
    sa.UniqueConstraint('run_id', 'position', name=op.f('uq_sort_item_run_id_position'))
    )
    op.create_index(op.f('ix_sort_item_audit'), 'sort_item', ['audit'], unique=False)
    # As plain SQL: SQLite takes a new column with its reference, but no reference added afterwards.
    op.execute(
        'ALTER TABLE decision ADD COLUMN sort_run_id INTEGER'
        ' CONSTRAINT fk_decision_sort_run_id REFERENCES sort_run (id)'
    )


def downgrade() -> None:
    """Only while nothing was ever sorted: the words of the older schema do not hold it."""
    op.drop_index(op.f('ix_sort_item_audit'), table_name='sort_item')
    op.drop_table('sort_item')
    if op.get_bind().dialect.name == 'sqlite':
        _rebuild('decision', lambda text: text.replace(
            ', sort_run_id INTEGER CONSTRAINT fk_decision_sort_run_id REFERENCES sort_run (id)', ''
        ), leave_out='sort_run_id')
    else:
        op.drop_column('decision', 'sort_run_id')
    op.drop_index(op.f('ix_sort_run_state'), table_name='sort_run')
    op.drop_table('sort_run')
    for table, (column, words, word) in WORDS.items():
        _change_words(table, column, f"{words}, {word}", words)


def _change_words(table: str, column: str, before: str, after: str) -> None:
    name = f'ck_{table}_{column}_known'
    if op.get_bind().dialect.name == 'sqlite':
        _rebuild(table, lambda text: text.replace(f"{column} IN ({before})", f"{column} IN ({after})"))
        return
    op.drop_constraint(name, table, type_='check')
    op.create_check_constraint(op.f(name), table, f"{column} IN ({after})")


def _rebuild(table: str, change, leave_out: str | None = None) -> None:
    """SQLite changes no constraint of a table that is there: a new one takes its place, with all rows and indexes.

    The caller has foreign keys switched off (https://sqlite.org/lang_altertable.html, "Making other kinds of table
    schema changes"), or dropping the old table would take what points at it along.
    """
    bind = op.get_bind()
    if bind.exec_driver_sql('PRAGMA foreign_keys').scalar():
        raise RuntimeError('foreign keys have to be off while a table is built anew')
    (text,) = bind.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).one()
    indexes = bind.exec_driver_sql(
        "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL", (table,)
    ).scalars().all()
    changed = change(text)
    if changed == text:
        raise RuntimeError(f'the table {table} does not look as expected')
    _, _, body = changed.partition('(')
    columns = [row[1] for row in bind.exec_driver_sql(f'PRAGMA table_info({table})') if row[1] != leave_out]
    listed = ', '.join(f'"{column}"' for column in columns)
    bind.exec_driver_sql(f'CREATE TABLE rebuilt_{table} ({body}')
    bind.exec_driver_sql(f'INSERT INTO rebuilt_{table} ({listed}) SELECT {listed} FROM {table}')
    bind.exec_driver_sql(f'DROP TABLE {table}')
    bind.exec_driver_sql(f'ALTER TABLE rebuilt_{table} RENAME TO {table}')
    for index in indexes:
        bind.exec_driver_sql(index)
