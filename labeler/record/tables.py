"""The record's tables (SQLAlchemy 2 typed mappings), the same for SQLite and PostgreSQL.

An image is the SHA-256 of its bytes; its path is an attribute that changes when the file moves. Decisions are
append-only: a wrong label is superseded by a later row, never overwritten. ``image.label`` repeats the label of the
last decision in force so that counting and ranking need no join; it is written in the transaction that writes the
decision, and `labeler verify` compares the two.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from labeler.domain import Action, JobState, Lane, MoveState, RoundState, SortState, Split

#: The newest migration; a test holds it against the scripts. Comparing it with the stored one spares a warm start
#: the import of Alembic.
SCHEMA_VERSION = "0004"


def now() -> dt.datetime:
    """The current moment, timezone-aware UTC."""
    return dt.datetime.now(dt.UTC)


class Moment(TypeDecorator[dt.datetime]):
    """A UTC timestamp; SQLite keeps no zone, so it is taken off on the way in and put back on the way out."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Any) -> dt.datetime | None:
        return value.astimezone(dt.UTC).replace(tzinfo=None) if value is not None else None

    def process_result_value(self, value: dt.datetime | None, dialect: Any) -> dt.datetime | None:
        return value.replace(tzinfo=dt.UTC) if value is not None else None


_Words = type[Split | Action | RoundState | MoveState | JobState | Lane | SortState]


def _one_of(column: str, values: _Words) -> CheckConstraint:
    listed = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Image(Base):
    """One photograph. ``path`` is where its file lies or, while ``missing``, where it was last seen."""

    __tablename__ = "image"
    __table_args__ = (
        _one_of("split", Split),
        Index(None, "split", "missing", "label"),  # holds all that counting needs
        # A vanished file's last path may be taken by a new one, so only present files claim theirs. (The migration
        # says the same for PostgreSQL; said here it would import that dialect, 0.1 s, at every start.)
        Index("uq_image_path", "path", unique=True, sqlite_where=text("NOT missing")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    path: Mapped[str] = mapped_column(Text)
    home: Mapped[str] = mapped_column(Text)  # where an undo brings the file back to
    split: Mapped[str] = mapped_column(String(16))
    label: Mapped[str | None] = mapped_column(String(64))
    missing: Mapped[bool] = mapped_column(default=False)
    width: Mapped[int]
    height: Mapped[int]
    format: Mapped[str] = mapped_column(String(16))
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    dhash: Mapped[str] = mapped_column(String(16), index=True)
    near_duplicate_of: Mapped[int | None] = mapped_column(ForeignKey("image.id"))
    imported_at: Mapped[dt.datetime] = mapped_column(Moment, default=now)


class Quarantined(Base):
    """A file that cannot be used, and why. Twins of an image that is on record are listed here too."""

    __tablename__ = "quarantine"

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(Text)
    path: Mapped[str | None] = mapped_column(Text)  # None: the file was only reported, not taken in
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    reason: Mapped[str] = mapped_column(Text)
    created_at: Mapped[dt.datetime] = mapped_column(Moment, default=now)


class Annotator(Base):
    """Somebody who decides: a person, the oracle, `files` for labels that came with a folder, `machine` for the model
    that sorts."""

    __tablename__ = "annotator"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(16), default="person")
    role: Mapped[str] = mapped_column(String(16), default="annotator")
    password_hash: Mapped[str | None] = mapped_column(Text)
    disabled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[dt.datetime] = mapped_column(Moment, default=now)


class WebSession(Base):
    """A signed-in browser; only the hash of its token is kept."""

    __tablename__ = "session"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotator.id"), index=True)
    created_at: Mapped[dt.datetime] = mapped_column(Moment, default=now)
    expires_at: Mapped[dt.datetime] = mapped_column(Moment)


class ModelVersion(Base):
    """A trained model on disk, and everything needed to say how it came about."""

    __tablename__ = "model_version"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(32), unique=True)
    kind: Mapped[str] = mapped_column(String(16))  # head, finetune, scratch
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"))
    path: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))
    backbone: Mapped[str] = mapped_column(String(64))
    backbone_key: Mapped[str] = mapped_column(Text)
    classes: Mapped[list[str]] = mapped_column(JSON)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    seed: Mapped[int]
    labelled: Mapped[int]
    last_decision_id: Mapped[int]  # trained on every decision in force up to this one
    in_use: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[dt.datetime] = mapped_column(Moment, default=now)
    removed_at: Mapped[dt.datetime | None] = mapped_column(Moment)  # its file is gone since; the row stays


class Round(Base):
    """One turn of the loop; what it stores is enough to propose the same images again."""

    __tablename__ = "round"
    __table_args__ = (_one_of("state", RoundState),)

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    k: Mapped[int]
    strategy: Mapped[str] = mapped_column(String(64))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    seed: Mapped[int]
    backbone: Mapped[str] = mapped_column(String(64))
    backbone_key: Mapped[str] = mapped_column(Text)
    model_version_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"))  # the one that proposed
    trained_version_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"))  # the one it led to
    pool: Mapped[int]
    pool_hash: Mapped[str] = mapped_column(String(64))
    package_version: Mapped[str] = mapped_column(String(32))
    timing: Mapped[dict[str, float]] = mapped_column(JSON, default=dict)
    created_at: Mapped[dt.datetime] = mapped_column(Moment, default=now)
    updated_at: Mapped[dt.datetime] = mapped_column(Moment, default=now)


class ProposalRow(Base):
    """One image of a round's batch with what the model said of it when it was chosen."""

    __tablename__ = "proposal"
    __table_args__ = (UniqueConstraint("round_id", "image_id"), UniqueConstraint("round_id", "rank"))

    id: Mapped[int] = mapped_column(primary_key=True)
    round_id: Mapped[int] = mapped_column(ForeignKey("round.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), index=True)
    rank: Mapped[int]
    probability: Mapped[float | None]
    uncertainty: Mapped[float | None]
    predicted: Mapped[str | None] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text, default="")


class Ranking(Base):
    """An order of the pool that the worker made from a model; its newest row is the one batches are handed out from.

    The rows stay as a history of how often the ranking was renewed; only the newest one's items are kept.
    """

    __tablename__ = "ranking"

    id: Mapped[int] = mapped_column(primary_key=True)
    model_version_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"))
    strategy: Mapped[str] = mapped_column(String(64))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    seed: Mapped[int]
    backbone: Mapped[str] = mapped_column(String(64))
    backbone_key: Mapped[str] = mapped_column(Text)
    pool: Mapped[int]
    pool_hash: Mapped[str] = mapped_column(String(64))
    labelled: Mapped[int]  # labels the model had learned from
    last_decision_id: Mapped[int]  # ... every decision up to this one
    histogram: Mapped[list[int]] = mapped_column(JSON, default=list)  # the pool by uncertainty, equal bins from 0 to 1
    timing: Mapped[dict[str, float]] = mapped_column(JSON, default=dict)
    created_at: Mapped[dt.datetime] = mapped_column(Moment, default=now)


class RankingItem(Base):
    """One image of the newest ranking. ``lane`` says what for: a queue of its own, by ``position``."""

    __tablename__ = "ranking_item"
    __table_args__ = (_one_of("lane", Lane), UniqueConstraint("lane", "position"), Index(None, "image_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    ranking_id: Mapped[int] = mapped_column(ForeignKey("ranking.id"))
    lane: Mapped[str] = mapped_column(String(16))
    position: Mapped[int]
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    probability: Mapped[float | None]
    uncertainty: Mapped[float | None]
    predicted: Mapped[str | None] = mapped_column(String(64))
    why: Mapped[str] = mapped_column(Text, default="")


class Lease(Base):
    """An image handed to one annotator for a while, so that no two work on it at once."""

    __tablename__ = "lease"
    __table_args__ = (UniqueConstraint("proposal_id", "annotator_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    proposal_id: Mapped[int] = mapped_column(ForeignKey("proposal.id"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotator.id"), index=True)
    expires_at: Mapped[dt.datetime] = mapped_column(Moment, index=True)


class SortRun(Base):
    """The model sorts what it is sure of: one run of `labeler sort`, carried out in steps and undone as a whole."""

    __tablename__ = "sort_run"
    __table_args__ = (_one_of("state", SortState),)

    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(16), default=SortState.PLANNING.value, index=True)
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    above: Mapped[float]  # least probability of the predicted class
    seed: Mapped[int]
    audit: Mapped[int]  # images to be drawn by lot for a person
    pool: Mapped[int]  # images in the pool when it began
    planned: Mapped[int]
    passed_over: Mapped[int] = mapped_column(default=0)  # planned, but somebody had them by then
    undone: Mapped[int] = mapped_column(default=0)
    sorted_to: Mapped[int] = mapped_column(default=0)  # position of the last image that is dealt with
    undone_to: Mapped[int] = mapped_column(default=0)
    expected: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[dt.datetime] = mapped_column(Moment, default=now)
    finished_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    undone_at: Mapped[dt.datetime | None] = mapped_column(Moment)


class SortItem(Base):
    """One image of a sorting run with what the model said of it. ``audit`` numbers those drawn for a person."""

    __tablename__ = "sort_item"
    __table_args__ = (UniqueConstraint("run_id", "position"), UniqueConstraint("run_id", "image_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("sort_run.id"))
    position: Mapped[int]
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    label: Mapped[str] = mapped_column(String(64))
    probability: Mapped[float]
    uncertainty: Mapped[float]
    passed_over: Mapped[bool] = mapped_column(default=False)
    audit: Mapped[int | None] = mapped_column(index=True)


class DecisionRow(Base):
    """Append-only. ``supersedes`` is the decision this one replaces (relabel) or takes back (undo).

    An ``opinion`` is one person's voice that does not decide by itself: with an overlap above 1 until enough agree,
    and the answer of somebody who came after the image was decided. ``sort_run_id`` is set where a run of
    `labeler sort` made the decision or took it back.
    """

    __tablename__ = "decision"
    __table_args__ = (_one_of("action", Action), Index(None, "image_id", "id"), Index(None, "round_id", "action"))

    id: Mapped[int] = mapped_column(primary_key=True)
    op_id: Mapped[str] = mapped_column(String(64), unique=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    round_id: Mapped[int | None] = mapped_column(ForeignKey("round.id"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotator.id"), index=True)
    action: Mapped[str] = mapped_column(String(16))
    label: Mapped[str | None] = mapped_column(String(64))
    supersedes: Mapped[int | None] = mapped_column(ForeignKey("decision.id"), index=True)
    elapsed_ms: Mapped[int | None]
    opinion: Mapped[bool] = mapped_column(default=False, server_default=false())
    sort_run_id: Mapped[int | None] = mapped_column(ForeignKey("sort_run.id"))
    created_at: Mapped[dt.datetime] = mapped_column(Moment, default=now)


class Note(Base):
    """What somebody wrote beside an image; empty for a flag without words."""

    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    op_id: Mapped[str] = mapped_column(String(64), unique=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), index=True)
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotator.id"))
    text: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[dt.datetime] = mapped_column(Moment, default=now)


class MoveRow(Base):
    """The journal of moves: written with the decision, carried out afterwards, then marked done."""

    __tablename__ = "move"
    __table_args__ = (_one_of("state", MoveState), Index(None, "state", "id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), index=True)
    decision_id: Mapped[int] = mapped_column(ForeignKey("decision.id"))
    folder: Mapped[str] = mapped_column(Text)
    file_name: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16), default=MoveState.PENDING.value)
    final_path: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[dt.datetime] = mapped_column(Moment, default=now)
    done_at: Mapped[dt.datetime | None] = mapped_column(Moment)


class Job(Base):
    """Work for the worker process: asked for in one transaction, claimed in another."""

    __tablename__ = "job"
    __table_args__ = (_one_of("state", JobState), Index(None, "state", "id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16), default=JobState.QUEUED.value)
    payload: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    progress: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str] = mapped_column(Text, default="")
    attempts: Mapped[int] = mapped_column(default=0)
    pid: Mapped[int | None]
    created_at: Mapped[dt.datetime] = mapped_column(Moment, default=now)
    started_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    finished_at: Mapped[dt.datetime | None] = mapped_column(Moment)


class Evaluation(Base):
    """Metrics of a model version on a split, or the estimate made where there is no test set."""

    __tablename__ = "evaluation"

    id: Mapped[int] = mapped_column(primary_key=True)
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"), index=True)
    round_id: Mapped[int | None] = mapped_column(ForeignKey("round.id"), index=True)
    split: Mapped[str] = mapped_column(String(16))
    n: Mapped[int]
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[dt.datetime] = mapped_column(Moment, default=now)
