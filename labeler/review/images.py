"""What the page shows of an image: a JPEG made once by the pool's safe decode and kept in the cache."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from labeler.domain import UnknownName, UnusableImage, VanishedFile
from labeler.workspace import WorkspacePaths

if TYPE_CHECKING:
    from labeler.rounds import Workspace

#: Long side in pixels of each size the page asks for.
LONG_SIDE = {"full": 1280, "grid": 360, "thumb": 160}
_JPEG = (b"\xff\xd8\xff", b"\xff\xd9")
#: Pictures are fetched ahead of time, an answer waits for its acknowledgement: a core is left for the answers.
_one_at_a_time = threading.Lock()
#: Folder of pictures that are being written, beside those of the finished ones.
_MAKING = ".making"
_PAUSES_S = (0.02, 0.05, 0.1, 0.2)


def picture(workspace: Workspace, image_id: int, sha256: str, size: str) -> bytes:
    """The image as the page shows it.

    The cache is keyed by content, so it outlives moves; it can be deleted at any time.

    Args:
        workspace: where the image is.
        image_id: its row in the record; the file is found through the record only, never by a name from outside.
        sha256: the content the page means; a file with another one is never shown under its name.
        size: a key of :data:`LONG_SIDE`.

    Raises:
        UnknownName: there is no such image, or it is not that one.
        VanishedFile: its file is gone.
        UnusableImage: its file can no longer be decoded.
    """
    for pause in _PAUSES_S:
        try:
            return _picture(workspace, image_id, sha256, size)
        except (VanishedFile, UnusableImage, FileNotFoundError):
            # An answer given this moment may be moving the file, and the record learns of it just after.
            time.sleep(pause)
    try:
        return _picture(workspace, image_id, sha256, size)
    except FileNotFoundError:
        raise VanishedFile(f"the file of image {image_id} is gone", "run `labeler verify`") from None


def _picture(workspace: Workspace, image_id: int, sha256: str, size: str) -> bytes:
    from labeler.pool.decode import thumbnail

    file = workspace.image_file(image_id)
    cached = cache_file(workspace.paths, sha256, size)
    made = _read(cached)
    if made is None:
        with _one_at_a_time:
            if _digest(file) != sha256:
                raise UnknownName(f"image {image_id} is not the image asked for", "reload the page")
            made = thumbnail(file, long_side=LONG_SIDE[size], max_pixels=workspace.settings.max_pixels)
            _write(cached, made)
    return made


def cache_file(paths: WorkspacePaths, sha256: str, size: str) -> Path:
    """Where the picture of that content and size is kept."""
    return paths.thumbnails / sha256[:2] / f"{sha256}-{LONG_SIDE[size]}.jpg"


def clear_leftovers(paths: WorkspacePaths) -> None:
    """Remove what a killed server left half-written; only one server at a time writes here."""
    shutil.rmtree(paths.thumbnails / _MAKING, ignore_errors=True)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(file: Path) -> bytes | None:
    try:
        content = file.read_bytes()
    except OSError:
        return None
    # After a power cut a renamed file may be empty or cut short: it was never fsynced, a cache need not be.
    return content if (content[:3], content[-2:]) == _JPEG else None


def _write(file: Path, content: bytes) -> None:
    """Tmp and rename, so that a reader never sees half a picture. A full disk costs the cache, not the answer."""
    tmp = file.parents[1] / _MAKING / secrets.token_hex(8)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        tmp.parent.mkdir(exist_ok=True)
        tmp.write_bytes(content)
        tmp.replace(file)
    except OSError:
        tmp.unlink(missing_ok=True)
