"""`labeler restore`: a backup becomes the record again, and the files say what was decided after it.

Everything is unpacked, checked and migrated in a hidden folder first; the present record is kept; the new one takes
its place in one step. Whoever is killed before that has lost nothing, and after it runs the command again, or goes on:
the scan of the next round takes from the folders what is left to take.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labeler import faults, settings
from labeler.domain import LabelerError, Progress, RecordError
from labeler.durable import sync_file, sync_folder
from labeler.pool.disk import make_folder, sha256_of
from labeler.pool.names import shown
from labeler.record import copies, healing, holdings, models
from labeler.record.store import Store, sqlite_url
from labeler.record.tables import SCHEMA_VERSION
from labeler.rounds import archive, aside, reconciling, verification, version_files
from labeler.rounds.archive import BackupError
from labeler.settings import Settings
from labeler.workspace import WorkspacePaths, make_folders

Report = Callable[[Progress], None] | None

_DATABASE = re.compile(r"\s*[\"']?database[\"']?\s*=")


@dataclass(frozen=True, slots=True)
class _Backup:
    """A backup, checked, with its record brought to today's schema.

    Attributes:
        database: the record, in the staging folder.
        manifest: what the archive said of itself; of a plain database nothing.
        settings: its labeler.toml, where it has one.
        models: the folder of its models' files; it need not exist.
    """

    database: Path
    manifest: Mapping[str, Any]
    settings: Path | None
    models: Path


def restore(
    paths: WorkspacePaths, file: Path, *, database: str | None = None, progress: Report = None
) -> dict[str, Any]:
    """Put the record of a backup in the place of the present one, and bring it together with the files.

    Args:
        paths: the workspace; what is missing of its folders is made.
        file: what `labeler backup` wrote, or a SQLite record: one that an earlier restore, a rebuild or a migration
            kept.
        database: URL of the record, where it is not the workspace's own.

    Returns:
        What ``labeler restore --json`` prints.

    Raises:
        WorkspaceBusy: another labeler is at work there. BackupError: this is no sound backup.
        RecordError: its record is damaged, or of a newer version; nothing was changed.
    """
    _check_file(file)
    paths.db.mkdir(mode=0o700, parents=True, exist_ok=True)
    with aside.alone(paths), aside.staging(paths.database) as folder:
        backup = _fetched(file, folder, progress)
        kept_settings, values = _settings(paths, backup)
        record = copies.file_of(database or values.database or sqlite_url(paths.database), "a restore")
        if not record.parent.is_dir():
            raise RecordError(f"the folder of the record {record} does not exist", "make it, or give --database")
        aside.check_closed(record)
        make_folders(paths, values.classes)
        put_back, lost = _prepare(backup, paths)
        old_settings = [] if kept_settings else [paths.root / settings.FILE_NAME]
        kept = aside.exchange(paths, record, aside.beside(backup.database, record), "restore", *old_settings)
        if backup.settings is not None and not kept_settings:
            _put(backup.settings, paths.root / settings.FILE_NAME)
        faults.point("restore.settings")
        document = _reconciled(record, paths, values, progress)
    document["models"] = {"restored": put_back, "lost": lost}
    document["notes"] = [*_notes(kept_settings, lost), *document["notes"]]
    told = {name: backup.manifest.get(name) for name in ("created_at", "labeler", "schema")}
    return {
        "file": str(file),
        "workspace": str(paths.root),
        "backup": told,
        "kept": _shown_in(paths, kept) if kept is not None else None,
        **document,
    }


def _check_file(file: Path) -> None:
    if not file.is_file():
        raise BackupError(f"there is no file {shown(file)}", "give the backup that is to be restored")


def _shown_in(paths: WorkspacePaths, folder: Path) -> str:
    return paths.relative(folder) if folder.is_relative_to(paths.root) else str(folder)


# ---------------------------------------------------------------------------------------------------------- the backup


def _fetched(file: Path, folder: Path, progress: Report) -> _Backup:
    """Unpack or copy the backup, check its record, and bring that to today's schema."""
    database, manifest, toml = folder / archive.DATABASE, {}, None
    with _blaming(file, database):
        if _is_record(file):
            _copy_record(file, database)
        else:
            if not zipfile.is_zipfile(file):
                raise archive.damaged(file, "it is neither an archive nor a SQLite record")
            unpacked = archive.unpack(file, folder, progress)
            manifest = dict(unpacked.manifest)
            toml = folder / settings.FILE_NAME if archive.SETTINGS in unpacked.members else None
        schema = copies.revision(database)
        if schema is None:
            raise archive.damaged(file, "its database is no record of labeler's")
        copies.check(database)
        Store(sqlite_url(database), keep_old=False).close()
        copies.check_paths(database)
        copies.forget_sessions(database)
    faults.point("restore.fetched")
    return _Backup(database, {"schema": schema, **manifest}, toml, folder / archive.MODELS)


@contextlib.contextmanager
def _blaming(file: Path, database: Path) -> Iterator[None]:
    """What is wrong with the record of a backup is said of the backup, not of a file in a hidden folder."""
    try:
        yield
    except RecordError as error:
        why = error.what.replace("the record in it", "its record").replace(f"the record {database}", "its record")
        raise BackupError(f"{shown(file)} cannot be restored: {why}", error.remedy) from None


def _is_record(file: Path) -> bool:
    try:
        return copies.is_sqlite(file)
    except OSError as error:
        raise BackupError(f"{shown(file)} cannot be read: {error.strerror}", "see to that") from None


def _copy_record(file: Path, target: Path) -> None:
    """A plain record with what waits in its write-ahead log; the original may be on a disk nobody can write."""
    try:
        for end in ("", "-wal"):
            source = file.with_name(file.name + end)
            if source.is_file():
                shutil.copyfile(source, target.with_name(target.name + end))
                target.with_name(target.name + end).chmod(0o600)
    except OSError as error:
        raise BackupError(f"{shown(file)} cannot be copied: {error.strerror}", "free some space") from None
    copies.in_one_file(target)


# -------------------------------------------------------------------------------------------------------- the settings


def _settings(paths: WorkspacePaths, backup: _Backup) -> tuple[bool, Settings]:
    """Whether the workspace keeps the settings it has, and which are in force afterwards.

    It keeps them where the backup has none, where they are the same, and where they name more classes: labels of a
    class that was added since would have no place under the old ones.

    Raises:
        SettingError: those of the backup cannot be read.
    """
    present = paths.root / settings.FILE_NAME
    if backup.settings is None or (present.is_file() and present.read_bytes() == backup.settings.read_bytes()):
        return True, settings.load(paths.root)
    ours: Settings | None = None
    if present.is_file():
        with contextlib.suppress(LabelerError):
            ours = settings.load(paths.root, environment={})
    _keep_place(backup.settings, ours.database if ours is not None else "")
    theirs = settings.load(backup.settings.parent)
    if ours is not None and set(ours.classes) > set(theirs.classes):
        return True, settings.load(paths.root)
    return False, theirs


def _keep_place(file: Path, database: str) -> None:
    """Where the record lies is the workspace's own affair: a backup that names a place must not reach for it.

    It may have been somebody else's workspace, or a rehearsal beside the one at work.
    """
    text = file.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.splitlines() if not _DATABASE.match(line)]
    if database:
        lines.insert(0, f"database = {json.dumps(database)}")
    if "\n".join(lines) == text.rstrip("\n"):
        return
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if settings.load(file.parent, environment={}).database != database:
        raise BackupError("the settings of the backup cannot be read", f"write a {settings.FILE_NAME} first")


def _notes(kept_settings: bool, lost: list[str]) -> list[str]:
    notes = []
    if not kept_settings:
        notes.append(f"{settings.FILE_NAME} is that of the backup")
    if lost:
        notes.append(f"the files of {', '.join(lost)} are not there: the next round trains a model from the labels")
    return notes


# ---------------------------------------------------------------------------------------------------- before and after


def _prepare(backup: _Backup, paths: WorkspacePaths) -> tuple[int, list[str]]:
    """Put the models back and correct what the record believes of files, while it is not yet the workspace's.

    Returns:
        How many files of models were put back, and the names of the versions that have none.
    """
    store = Store(sqlite_url(backup.database))
    try:
        with store.read() as session:
            versions = models.every(session)
        put_back = 0
        for version in versions:
            for file, digest in version_files.files_of(paths, version).items():
                put_back += _put_model(backup.models / file.name, file, digest)
        lost = [version for version in versions if version_files.state(paths, version) != "sound"]
        if lost:
            with store.write() as session:
                gone = {version.id for version in lost}
                healing.forget_files(session, [row for row in models.every(session) if row.id in gone])
        reconciling.settle(store, paths)
    finally:
        store.close()
    copies.in_one_file(backup.database)
    return put_back, [version.name for version in lost]


def _put_model(packed: Path, file: Path, digest: str) -> bool:
    """Put a model's file in its place, unless it is there."""
    if not packed.is_file() or sha256_of(packed) != digest:
        return False
    if file.is_file() and sha256_of(file) == digest:
        return False
    _put(packed, file)
    return True


def _put(source: Path, target: Path) -> None:
    """Copy a file to its place, whole or not at all."""
    temporary = target.with_name(f".{target.name}.tmp")  # as a model that is being saved
    try:
        make_folder(target.parent)
        shutil.copyfile(source, temporary)
        sync_file(temporary)
        temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise LabelerError(f"{shown(target)} cannot be written: {error.strerror}", "free some space") from None


def _reconciled(record: Path, paths: WorkspacePaths, values: Settings, progress: Report) -> dict[str, Any]:
    store = Store(sqlite_url(record))
    try:
        found = reconciling.reconcile(store, paths, values, progress)
        with store.read() as session:
            counts = holdings.counted(session)
        report = verification.verify(store, paths, values, repair=False)
    finally:
        store.close()
    return {
        "images": counts["images"],
        "labelled": counts["labelled"],
        "missing": counts["missing"],
        "after_backup": {"labels": found.labels, "unlabelled": found.unlabelled, "added": found.added},
        "rounds_given_up": found.rounds,
        "schema_now": SCHEMA_VERSION,
        "clean": report["clean"],
        "differences": report["differences"],
        "notes": found.notes,
    }
