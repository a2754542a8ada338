"""The one file that `labeler backup` writes, and reading it without trusting it.

A ZIP archive with exactly these members:

    manifest.json   what it is: format, versions, time, counts, moves not carried out yet, models, and size and
                    SHA-256 of every other member
    labeler.db      the record, one SQLite file
    images.jsonl    one line per image on record: sha256, path, split, label, missing
    labeler.toml    the settings, where the workspace has such a file
    models/<name>   files of model versions, where they were asked for

Nothing is unpacked under a name that the archive gives: an archive that holds any other name is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from labeler import faults
from labeler.domain import LabelerError, Progress
from labeler.pool.names import shown

Report = Callable[[Progress], None] | None

FORMAT, FORMAT_VERSION = "labeler-backup", 1
MANIFEST, DATABASE, IMAGES, SETTINGS, MODELS = "manifest.json", "labeler.db", "images.jsonl", "labeler.toml", "models/"

_CHUNK = 1 << 20
_LEVEL = 1  # digests make up most of it and do not pack: more effort takes four times as long for a twentieth less
#: Deflate packs a record or a network 3 to 10 times; more than this on the whole is a bomb.
_MOST_PACKED, _FREE_OF_SUSPICION = 100, 64 << 20
_LARGEST_MANIFEST = 64 << 20
_MOST_MEMBERS = 10_000
_MODEL_NAME = re.compile(r"[\w][\w.\-]{0,200}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, RuntimeError, ValueError)


class BackupError(LabelerError):
    """A backup cannot be written, or a file is none that can be restored."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member's size in bytes and the SHA-256 of its bytes."""

    size: int
    sha256: str

    def as_json(self) -> dict[str, Any]:
        return {"size": self.size, "sha256": self.sha256}


class Writer:
    """Packs members into a new archive; :meth:`finish` adds the manifest, without which it is no backup."""

    def __init__(self, file: Path, progress: Report = None) -> None:
        """Raises: OSError: the file cannot be made."""
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)  # it holds hashes of passwords
        self._stream = cast("IO[bytes]", os.fdopen(handle, "w+b"))
        self._zip = zipfile.ZipFile(self._stream, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
        self._members: dict[str, Member] = {}
        self._progress = progress

    def add_file(self, name: str, file: Path) -> Member:
        """Pack a file. Raises: OSError."""
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            return self.add(name, iter(lambda: stream.read(_CHUNK), b""), size)

    def add(self, name: str, pieces: Iterator[bytes], expected: int | None = None) -> Member:
        """Pack what the pieces make up. ``expected`` is its size for the progress. Raises: OSError."""
        digest, size = hashlib.sha256(), 0
        total = -(-expected // _CHUNK) if expected is not None and expected > 8 * _CHUNK else None
        with self._zip.open(name, "w", force_zip64=True) as member:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                member.write(piece)
                if self._progress is not None and total is not None:
                    self._progress(Progress(f"packing {name} (MiB)", size // _CHUNK, total))
        self._members[name] = Member(size, digest.hexdigest())
        return self._members[name]

    def finish(self, document: Mapping[str, Any]) -> None:
        """Add the manifest and put everything on the disk. Raises: OSError."""
        members = {name: member.as_json() for name, member in sorted(self._members.items())}
        whole = {"format": FORMAT, "format_version": FORMAT_VERSION, **document, "members": members}
        self._zip.writestr(MANIFEST, json.dumps(whole, ensure_ascii=True, indent=1))
        self._zip.close()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        faults.point("backup.packed")

    def close(self) -> None:
        """Let go of the file, whatever became of it; what was not finished is no backup."""
        with contextlib.suppress(OSError, ValueError):
            self._zip.close()
        with contextlib.suppress(OSError):
            self._stream.close()


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was in an archive, checked against the manifest and lying in ``folder`` under its names."""

    folder: Path
    manifest: Mapping[str, Any]
    members: Mapping[str, Member]


def unpack(file: Path, folder: Path, progress: Report = None) -> Unpacked:
    """Unpack a backup into an empty folder and check every byte of it.

    Raises:
        BackupError: it is no backup, is damaged or cut short, was made by a newer version, holds a name that no
            backup holds, or would unpack to far more than it is; or there is no room. Files may be left in ``folder``.
    """
    try:
        with zipfile.ZipFile(file) as packed:
            infos = _named(file, packed)
            manifest = _manifest(file, packed, infos[MANIFEST])
            members = _members(file, manifest, infos)
            _check_room(file, folder, infos.values())
            for name, member in members.items():
                _extract(packed, infos[name], folder / name, member, progress)
    except OSError as error:
        raise BackupError(f"{shown(file)} cannot be unpacked: {error.strerror or error}", "see to that") from None
    except _DAMAGE as error:
        raise damaged(file, " ".join(str(error).split()) or type(error).__name__) from None
    return Unpacked(folder, manifest, members)


def damaged(file: Path, why: str) -> BackupError:
    """The error for a file that is no whole backup."""
    return BackupError(f"{shown(file)} is no sound backup: {why}", "use another backup")


def _named(file: Path, packed: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Its members by name: all of them known ones, none twice."""
    infos: dict[str, zipfile.ZipInfo] = {}
    for info in packed.infolist():
        name = info.filename
        known = name in (MANIFEST, DATABASE, IMAGES, SETTINGS)
        model = name.startswith(MODELS) and _MODEL_NAME.fullmatch(name.removeprefix(MODELS)) is not None
        if not known and not model:
            raise damaged(file, f"it holds {shown(name)!r}, which no backup does")
        if name in infos or len(infos) >= _MOST_MEMBERS:
            raise damaged(file, f"it holds {shown(name)!r} twice" if name in infos else "it holds too many files")
        if info.flag_bits & 0x1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise damaged(file, f"{name} is packed in a way no backup is")
        infos[name] = info
    for name in (MANIFEST, DATABASE):
        if name not in infos:
            raise damaged(file, f"it has no {name}")
    return infos


def _manifest(file: Path, packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> Mapping[str, Any]:
    if info.file_size > _LARGEST_MANIFEST:
        raise damaged(file, "its manifest is too large")
    with packed.open(info) as stream:
        try:
            document = json.loads(stream.read(_LARGEST_MANIFEST))
        except RecursionError:
            raise damaged(file, "its manifest is no list of what it holds") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise damaged(file, "its manifest is not that of a labeler backup")
    version = document.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise BackupError(f"{shown(file)} was made by a newer labeler", "install a newer labeler")
    return document


def _members(file: Path, manifest: Mapping[str, Any], infos: Mapping[str, zipfile.ZipInfo]) -> dict[str, Member]:
    """What the manifest says of each member; it names all there are, and no other."""
    listed = manifest.get("members")
    if not isinstance(listed, dict) or set(listed) != set(infos) - {MANIFEST}:
        raise damaged(file, "its manifest names other files than it holds")
    found = {}
    for name, said in listed.items():
        size, sha256 = (said.get("size"), said.get("sha256")) if isinstance(said, dict) else (None, None)
        if not isinstance(size, int) or size != infos[name].file_size:
            raise damaged(file, f"{name} is not of the size the manifest says")
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise damaged(file, f"its manifest has no SHA-256 of {name}")
        found[name] = Member(size, sha256)
    return found


def _check_room(file: Path, folder: Path, infos: Any) -> None:
    total = sum(info.file_size for info in infos)
    if total > _FREE_OF_SUSPICION + _MOST_PACKED * file.stat().st_size:
        raise damaged(file, f"it would unpack to {total >> 20} MiB")
    free = shutil.disk_usage(folder).free
    if total > free:
        what = f"{shown(file)} unpacks to {total >> 20} MiB, and {free >> 20} MiB are free"
        raise BackupError(what, "free some space")


def _extract(packed: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, member: Member, progress: Report) -> None:
    target.parent.mkdir(exist_ok=True)
    digest, left = hashlib.sha256(), member.size
    total = -(-member.size // _CHUNK)
    handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with packed.open(info) as source, os.fdopen(handle, "wb") as out:
        while piece := source.read(min(_CHUNK, left + 1)):  # one byte more than it may have would show
            left -= len(piece)
            if left < 0:
                raise zipfile.BadZipFile(f"{info.filename} is longer than it says")
            digest.update(piece)
            out.write(piece)
            if progress is not None and total > 8:
                progress(Progress(f"unpacking {info.filename} (MiB)", total - left // _CHUNK, total))
        out.flush()
        os.fsync(out.fileno())
    if left or digest.hexdigest() != member.sha256:
        raise zipfile.BadZipFile(f"the bytes of {info.filename} are not those that were packed")
