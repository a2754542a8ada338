"""people and rankings

Revision: 0002
After: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('note',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('op_id', sa.String(length=64), nullable=False),
    sa.Column('image_id', sa.Integer(), nullable=False),
    sa.Column('annotator_id', sa.Integer(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(), nullable=False),
    sa.ForeignKeyConstraint(['annotator_id'], ['annotator.id'], name=op.f('fk_note_annotator_id')),
    sa.ForeignKeyConstraint(['image_id'], ['image.id'], name=op.f('fk_note_image_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_note')),
    sa.UniqueConstraint('op_id', name=op.f('uq_note_op_id'))
    )
    with op.batch_alter_table('note', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_note_image_id'), ['image_id'], unique=False)

    op.create_table('ranking',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('model_version_id', sa.Integer(), nullable=True),
    sa.Column('strategy', sa.String(length=64), nullable=False),
    sa.Column('parameters', sa.JSON(), nullable=False),
    sa.Column('seed', sa.Integer(), nullable=False),
    sa.Column('backbone', sa.String(length=64), nullable=False),
    sa.Column('backbone_key', sa.Text(), nullable=False),
    sa.Column('pool', sa.Integer(), nullable=False),
    sa.Column('pool_hash', sa.String(length=64), nullable=False),
    sa.Column('labelled', sa.Integer(), nullable=False),
    sa.Column('last_decision_id', sa.Integer(), nullable=False),
    sa.Column('histogram', sa.JSON(), nullable=False),
    sa.Column('timing', sa.JSON(), nullable=False),
    sa.Column('created_at', sa.DateTime(), nullable=False),
    sa.ForeignKeyConstraint(['model_version_id'], ['model_version.id'], name=op.f('fk_ranking_model_version_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_ranking'))
    )
    op.create_table('ranking_item',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('ranking_id', sa.Integer(), nullable=False),
    sa.Column('lane', sa.String(length=16), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('image_id', sa.Integer(), nullable=False),
    sa.Column('probability', sa.Double(), nullable=True),
    sa.Column('uncertainty', sa.Double(), nullable=True),
    sa.Column('predicted', sa.String(length=64), nullable=True),
    sa.Column('why', sa.Text(), nullable=False),
    sa.CheckConstraint("lane IN ('main', 'grid', 'mistakes')", name=op.f('ck_ranking_item_lane_known')),
    sa.ForeignKeyConstraint(['image_id'], ['image.id'], name=op.f('fk_ranking_item_image_id')),
    sa.ForeignKeyConstraint(['ranking_id'], ['ranking.id'], name=op.f('fk_ranking_item_ranking_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_ranking_item')),
    sa.UniqueConstraint('lane', 'position', name=op.f('uq_ranking_item_lane_position'))
    )
    with op.batch_alter_table('ranking_item', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_ranking_item_image_id'), ['image_id'], unique=False)

    with op.batch_alter_table('image', schema=None) as batch_op:
        batch_op.drop_index('ix_image_split_missing')
        batch_op.create_index('ix_image_split_missing_label', ['split', 'missing', 'label'], unique=False)

    # Not as a batch: that would build the table anew, and dropping the old one breaks what points at it.
    op.add_column('decision', sa.Column('opinion', sa.Boolean(), server_default=sa.false(), nullable=False))



def downgrade() -> None:
    with op.batch_alter_table('image', schema=None) as batch_op:
        batch_op.drop_index('ix_image_split_missing_label')
        batch_op.create_index('ix_image_split_missing', ['split', 'missing'], unique=False)

    op.drop_column('decision', 'opinion')

    with op.batch_alter_table('ranking_item', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_ranking_item_image_id'))

    op.drop_table('ranking_item')
    op.drop_table('ranking')
    with op.batch_alter_table('note', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_note_image_id'))

    op.drop_table('note')
