"""`labeler backup`: the record as one file, taken while people go on labelling.

The record is copied as it is at one moment; everything else in the backup is read from that copy, so record and
manifest agree whatever is answered and moved meanwhile. Photographs are not in it: they are the bulk, and each lies in
``pools/`` as a file of its own that any tool can copy.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from labeler import faults, settings
from labeler.domain import LabelerError, Progress, RecordError
from labeler.durable import sync_folder
from labeler.pool.disk import NO_LINK, sha256_of
from labeler.pool.names import TEMP_PREFIX, shown
from labeler.record import copies, holdings, models
from labeler.record.store import Session, Store, sqlite_url
from labeler.record.tables import SCHEMA_VERSION, now
from labeler.rounds import archive, version_files
from labeler.rounds.archive import BackupError
from labeler.settings import Settings
from labeler.version import __version__
from labeler.workspace import WorkspacePaths

Report = Callable[[Progress], None] | None

_TEMPORARY = f"{TEMP_PREFIX}backup-"
_LOCK = "backup.lock"
_BEGINNING_S = 60.0  # between making a folder and its lock; far less
_ZIP_MAGIC = b"PK"


def backup(
    store: Store,
    paths: WorkspacePaths,
    values: Settings,
    file: Path,
    *,
    with_models: bool = False,
    force: bool = False,
    progress: Report = None,
) -> dict[str, Any]:
    """Write a backup of the record to ``file``, of mode 0600, whole or not at all.

    Args:
        values: the workspace's settings, for its classes.
        with_models: also the files of the model versions; without them a restored workspace trains anew.
        force: replace a backup that has this name.

    Returns:
        What ``labeler backup --json`` prints: file, bytes, time, what was counted, models and notes.

    Raises:
        BackupError: the file is there already, or lies where it must not, or cannot be written; nothing is left.
        NotSqlite: the record is in another database. RecordError: it is damaged.
    """
    source = copies.file_of(store.url, "a backup")
    _check_place(paths, source, file, force)
    with _scratch(file) as folder:
        packed = folder / "backup.zip"
        try:
            with _blaming(folder / archive.DATABASE, source, file):
                document = _packed(source, paths, values, packed, with_models, progress)
            size = packed.stat().st_size
            _publish(packed, file, force)
        except OSError as error:
            raise _refused(file, error) from None
    counts = document["counts"]
    return {
        "file": str(file),
        "bytes": size,
        "created_at": document["created_at"],
        **counts,
        "pending_moves": len(document["pending_moves"]),
        "models": {
            "versions": len(document["models"]),
            "files": sum(1 for model in document["models"] for kept in model["files"] if kept["included"]),
        },
        "sessions_dropped": document["sessions_dropped"],
        "notes": document["notes"],
    }


@contextlib.contextmanager
def _blaming(copied: Path, source: Path, file: Path) -> Iterator[None]:
    """What goes wrong with the copy is said of the record, or of the backup that cannot be written."""
    try:
        yield
    except RecordError as error:
        if "the record in it" not in error.what:
            raise
        what = error.what.replace("the record in it", f"the record {source}")
        remedy = "`labeler verify` says more; restore an earlier backup, or run `labeler rebuild`"
        raise RecordError(f"{what}, so no backup of it was made", remedy) from None
    except LabelerError as error:
        raise BackupError(error.what.replace(str(copied), shown(file)), error.remedy) from None


# ---------------------------------------------------------------------------------------------------------- the place


def _check_place(paths: WorkspacePaths, source: Path, file: Path, force: bool) -> None:
    """See that the backup can be there.

    Raises:
        BackupError: it cannot.
    """
    place = Path(os.path.abspath(file))
    if not place.parent.is_dir():
        raise BackupError(f"there is no folder {shown(file.parent)}", "make it, or choose another place")
    if place.parent.resolve().is_relative_to(paths.pools.resolve()):
        raise BackupError(f"{shown(file)} would lie among the images", "choose a place outside pools/")
    record = [source, *(source.with_name(source.name + end) for end in copies.COMPANIONS)]
    if any(place.parent.resolve() / place.name == own.parent.resolve() / own.name for own in record):
        raise BackupError(f"{shown(file)} is the record itself", "choose another name")
    if not os.path.lexists(place):
        return
    if not force:
        raise BackupError(f"{shown(file)} is there already", "choose another name, or replace it with --force")
    if place.is_dir() or not _is_zip(place):
        raise BackupError(f"{shown(file)} is there already and is no backup", "choose another name")


def _is_zip(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(2) == _ZIP_MAGIC
    except OSError:
        return False


@contextlib.contextmanager
def _scratch(file: Path) -> Iterator[Path]:
    """A hidden folder beside the backup to be, for nobody else's eyes; what killed backups left there goes first.

    Raises:
        BackupError: it cannot be made.
    """
    from filelock import FileLock

    home = Path(os.path.abspath(file)).parent
    try:
        for left in home.glob(f"{_TEMPORARY}*"):
            _sweep(left)
        folder = home / f"{_TEMPORARY}{os.urandom(8).hex()}"
        folder.mkdir(mode=0o700)
        # Held while we live, so that the next backup can tell a killed one's folder from ours.
        lock = FileLock(folder / _LOCK)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise _refused(file, error) from None
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(left: Path) -> None:
    """Remove a killed backup's folder; that of one at work, or just beginning, is left alone."""
    from filelock import FileLock, Timeout

    with contextlib.suppress(OSError, Timeout):
        if not (left / _LOCK).exists() and left.stat().st_mtime > time.time() - _BEGINNING_S:
            return
        with FileLock(left / _LOCK).acquire(timeout=0):
            shutil.rmtree(left, ignore_errors=True)


def _publish(packed: Path, file: Path, force: bool) -> None:
    """Give the finished archive its name, durably, and without ``force`` over nobody else's."""
    faults.point("backup.made")
    if force:
        packed.replace(file)
    else:
        try:
            os.link(packed, file)
        except FileExistsError:
            raise BackupError(f"{shown(file)} is there already", "choose another name") from None
        except OSError as error:
            if error.errno not in NO_LINK:
                raise
            packed.rename(file)
    sync_folder(Path(os.path.abspath(file)).parent)
    faults.point("backup.named")


def _refused(file: Path, error: OSError | NotImplementedError) -> BackupError:
    why = getattr(error, "strerror", None) or str(error)
    return BackupError(f"{shown(file)} cannot be written: {why}", "free some space, or choose another place")


# -------------------------------------------------------------------------------------------------------- the content


def _packed(
    source: Path, paths: WorkspacePaths, values: Settings, packed: Path, with_models: bool, progress: Report
) -> dict[str, Any]:
    """Copy the record, pack it and what belongs to it; returns the manifest, but for the list of members."""
    database = packed.with_name(archive.DATABASE)
    created_at = now()
    copies.copy(source, database, progress)
    faults.point("backup.copied")
    copies.check(database)
    signed_in = copies.forget_sessions(database)
    writer = archive.Writer(packed, progress)
    copied = Store(sqlite_url(database))
    try:
        with copied.read() as session:
            notes: list[str] = []
            document = {
                "labeler": __version__,
                "schema": SCHEMA_VERSION,
                "created_at": created_at.isoformat(timespec="seconds"),
                "classes": list(values.classes),
                "counts": holdings.counted(session),
                "pending_moves": holdings.pending_moves(session),
                "models": _models(session, paths, writer if with_models else None, notes),
                "sessions_dropped": signed_in,
                "notes": notes,
            }
            writer.add(archive.IMAGES, _lines(session))
        copied.close()
        copies.in_one_file(database)
        writer.add_file(archive.DATABASE, database)
        if (paths.root / settings.FILE_NAME).is_file():
            writer.add_file(archive.SETTINGS, paths.root / settings.FILE_NAME)
        writer.finish(document)
    finally:
        copied.close()
        writer.close()
    return document


def _lines(session: Session) -> Iterator[bytes]:
    """The images as lines of JSON, gathered into pieces worth packing."""
    piece: list[str] = []
    for row in holdings.image_rows(session):
        piece.append(json.dumps(row, ensure_ascii=False) + "\n")
        if len(piece) >= 1000:
            yield "".join(piece).encode()
            piece.clear()
    yield "".join(piece).encode()


def _models(
    session: Session, paths: WorkspacePaths, writer: archive.Writer | None, notes: list[str]
) -> list[dict[str, Any]]:
    """Every version that has its file, with the digests; packed with a ``writer``. A file goes in once."""
    found = []
    packed: dict[str, bool] = {}
    for version in models.every(session):
        files = []
        for file, digest in version_files.files_of(paths, version).items():
            path = paths.relative(file)
            if path not in packed:
                packed[path] = writer is not None and _pack_model(writer, file, digest, notes)
            files.append({"path": path, "sha256": digest, "included": packed[path]})
        found.append({"name": version.name, "kind": version.kind, "in_use": version.in_use, "files": files})
    return found


def _pack_model(writer: archive.Writer, file: Path, digest: str, notes: list[str]) -> bool:
    """Pack a model's file; one that is gone or damaged is said: a model can be trained anew."""
    try:
        if sha256_of(file) != digest:
            notes.append(f"{shown(file.name)} is not the file that was saved, and was left out")
            return False
    except OSError:  # removed between the copy of the record and now, or missing before
        notes.append(f"{shown(file.name)} is gone, and was left out")
        return False
    return writer.add_file(archive.MODELS + file.name, file).sha256 == digest
