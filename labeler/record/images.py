"""The images of the record, and the files that were set aside. Functions take a session and never commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnExpressionArgument, Row, bindparam, func, select, text, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from labeler.domain import Action, ImageRef, Split
from labeler.record.tables import Base, DecisionRow, Image, Note, Quarantined

#: SQLite admits 32,766 bound values in a statement; longer lists are asked in blocks of this many.
_BLOCK = 10_000
T = TypeVar("T")


def blocks(items: Sequence[T]) -> Iterable[Sequence[T]]:
    """The items in runs short enough for one statement."""
    return (items[start : start + _BLOCK] for start in range(0, len(items), _BLOCK))


def refs(session: Session, split: Split) -> list[ImageRef]:
    """The present images of a split, ordered by SHA-256."""
    query = select(Image.id, Image.sha256, Image.path, Image.label)
    query = query.where(Image.split == split.value, ~Image.missing).order_by(Image.sha256)
    return [ImageRef(*row) for row in session.execute(query)]


_BY_SHA = select(Image).where(Image.sha256.in_(bindparam("shas", expanding=True)))


def images_by_sha(session: Session, shas: Sequence[str]) -> dict[str, Image]:
    """The rows of the given images; unknown ones are absent."""
    found: dict[str, Image] = {}
    for block in blocks(shas):
        for image in session.scalars(_BY_SHA, {"shas": block}):
            found[image.sha256] = image
    return found


def shas(session: Session, image_ids: Sequence[int]) -> dict[int, str]:
    """The SHA-256 of each image."""
    query = select(Image.id, Image.sha256).where(Image.id.in_(image_ids))
    return {row.id: row.sha256 for row in session.execute(query)}


# Grouped as the index is sorted: a tenth of the time of a query that leaves the missing out.
_COUNTS = select(Image.split, Image.missing, Image.label, func.count()).group_by(
    Image.split, Image.missing, Image.label
)


def counts(session: Session) -> dict[str, dict[str | None, int]]:
    """How many present images each split holds, by label."""
    table: dict[str, dict[str | None, int]] = {split.value: {} for split in Split}
    for split, missing, label, number in session.connection().execute(_COUNTS):
        if not missing:
            table[split][label] = number
    return table


def skipped_ids(session: Session) -> set[int]:
    """Unlabelled images whose last decision was SKIP: somebody looked and could not say."""
    last = select(func.max(DecisionRow.id)).where(~DecisionRow.opinion).group_by(DecisionRow.image_id).scalar_subquery()
    query = select(DecisionRow.image_id).where(DecisionRow.id.in_(last), DecisionRow.action == Action.SKIP.value)
    return set(session.scalars(query))


def by_sha(session: Session, sha256: str) -> Image | None:
    """The image of these bytes."""
    return session.scalar(select(Image).where(Image.sha256 == sha256))


def every(session: Session) -> list[Image]:
    """Every image there is on record, missing ones too."""
    return list(session.scalars(select(Image).order_by(Image.id)))


def files(session: Session) -> Sequence[Row[int, str, str, int, int, bool]]:
    """Id, sha256, path, size, mtime_ns and missing of every image: what a scan compares with the disk."""
    query = select(Image.id, Image.sha256, Image.path, Image.size, Image.mtime_ns, Image.missing)
    return session.execute(query).all()


def count(session: Session, table: type[Base], *conditions: ColumnExpressionArgument[bool]) -> int:
    """How many rows of a table fulfil the conditions."""
    return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0


def count_missing(session: Session) -> int:
    return count(session, Image, Image.missing)


def count_near_duplicates(session: Session) -> int:
    return count(session, Image, Image.near_duplicate_of.is_not(None))


_RELABEL = update(Image).where(Image.id == bindparam("image"))


def relabel(session: Session, image: Image, label: str | None, split: Split) -> None:
    """Note an image's label and split; at once, past the unit of work, which would cost several times as much."""
    session.connection().execute(_RELABEL, {"image": image.id, "label": label, "split": split.value})
    set_committed_value(image, "label", label)
    set_committed_value(image, "split", split.value)


def relabel_many(session: Session, labels: Mapping[int, tuple[str | None, Split]]) -> None:
    """Note label and split of many images at once; rows that the session holds do not learn of it."""
    rows = [{"image": image, "label": label, "split": split.value} for image, (label, split) in labels.items()]
    if rows:
        session.connection().execute(_RELABEL, rows)


def set_missing(session: Session, image_ids: Sequence[int], missing: bool) -> None:
    """Note that the files of these images are gone, or are back."""
    for block in blocks(image_ids):
        session.execute(update(Image).where(Image.id.in_(block)).values(missing=missing))


def set_paths(session: Session, paths: Mapping[int, str]) -> None:
    """Note where images' files lie now."""
    rows: list[dict[str, Any]] = [{"id": image, "path": path, "missing": False} for image, path in paths.items()]
    session.execute(update(Image), rows)


def signatures(session: Session) -> list[tuple[int, str, int | None]]:
    """Id, difference hash and near-duplicate of every image, oldest first."""
    query = select(Image.id, Image.dhash, Image.near_duplicate_of).order_by(Image.id)
    return [(row.id, row.dhash, row.near_duplicate_of) for row in session.execute(query)]


def set_near_duplicates(session: Session, changes: Mapping[int, int | None]) -> None:
    """Point images at the earlier one that looks the same, or at none."""
    rows: list[dict[str, Any]] = [{"id": image, "near_duplicate_of": first} for image, first in changes.items()]
    session.execute(update(Image), rows)


def flagged(session: Session, image_ids: Sequence[int]) -> set[int]:
    """Those of the images that somebody wrote a note to."""
    return set(session.scalars(select(Note.image_id).where(Note.image_id.in_(image_ids))))


def add_note(session: Session, image_id: int, annotator_id: int, note: str, op_id: str) -> bool:
    """Put a note on record; False when that op_id is there already."""
    if session.scalar(select(Note.id).where(Note.op_id == op_id)) is not None:
        return False
    session.add(Note(image_id=image_id, annotator_id=annotator_id, text=note, op_id=op_id))
    session.flush()
    return True


# --------------------------------------------------------------------------------------------------- set aside


def quarantined(session: Session) -> list[Quarantined]:
    """Every file that was set aside, oldest first."""
    return list(session.scalars(select(Quarantined).order_by(Quarantined.id)))


def count_quarantined(session: Session) -> int:
    return count(session, Quarantined)


# ---------------------------------------------------------------------------------------------------- the file


def damage(session: Session) -> list[str]:
    """What SQLite's own checks find wrong with the record, one line each; always nothing elsewhere."""
    if session.get_bind().dialect.name != "sqlite":
        return []
    lines = [str(line) for (line,) in session.execute(text("PRAGMA quick_check")) if line != "ok"]
    broken = session.execute(text("PRAGMA foreign_key_check")).all()
    return lines + [f"row {row[1]} of {row[0]} points at nothing" for row in broken]
