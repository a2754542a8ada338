"""Where things are: the folders of a workspace, and the lock that keeps two writers apart."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from labeler.domain import Split, WorkspaceBusy, WorkspaceError
from labeler.settings import Settings, load, write

ENVIRONMENT_NAME = "LABELER_WORKSPACE"


@dataclass(frozen=True, slots=True)
class WorkspacePaths:
    """The folders below one workspace root. Holds paths only: nothing is opened or created by making one."""

    root: Path

    @property
    def db(self) -> Path:
        return self.root / "db"

    @property
    def pools(self) -> Path:
        return self.root / "pools"

    @property
    def database(self) -> Path:
        return self.db / "labeler.db"

    @property
    def vectors(self) -> Path:
        """Deletable: vectors, one folder per backbone, weights and preprocessing."""
        return self.db / "cache" / "vectors"

    @property
    def thumbnails(self) -> Path:
        """Deletable: what the review page shows."""
        return self.db / "cache" / "thumbnails"

    @property
    def compiled(self) -> Path:
        """Deletable: backbones converted for the fast runtime."""
        return self.db / "cache" / "compiled"

    @property
    def models(self) -> Path:
        return self.db / "models"

    @property
    def quarantine(self) -> Path:
        return self.pools / "Quarantine"

    def split(self, split: Split) -> Path:
        return self.pools / split.folder

    def class_folder(self, split: Split, label: str) -> Path:
        """Where labelled images of a class lie, e.g. ``pools/Train/withMask``."""
        return self.split(split) / label

    def absolute(self, path: str) -> Path:
        """The file of a workspace-relative POSIX path from the record.

        Raises:
            WorkspaceError: the path leads out of ``pools/``; the record never holds such a path, so this is a
                tampered record or a bug, and nothing must be read through it.
        """
        parts = PurePosixPath(path).parts
        if not parts or parts[0] != "pools" or ".." in parts or PurePosixPath(path).is_absolute():
            raise WorkspaceError(f"{path!r} is no path inside pools/", "run `labeler verify`")
        return self.root.joinpath(*parts)

    def relative(self, file: Path) -> str:
        """The workspace-relative POSIX path of a file below the root.

        Raises:
            ValueError: the file is not below the root.
        """
        root, text = f"{self.root}{os.sep}", str(file)
        if not text.startswith(root):
            raise ValueError(f"{file} is not below {self.root}")
        return text[len(root) :].replace(os.sep, "/")


def find(directory: Path | None = None) -> WorkspacePaths:
    """The workspace at ``directory``, else at ``LABELER_WORKSPACE``, else in the current folder.

    Raises:
        WorkspaceError: there is no ``db/`` and ``pools/`` there.
    """
    chosen = directory or Path(os.environ.get(ENVIRONMENT_NAME) or ".")
    paths = WorkspacePaths(Path(os.path.abspath(chosen)))
    if not paths.db.is_dir() or not paths.pools.is_dir():
        raise WorkspaceError(
            f"{chosen} is no workspace: it has no db/ and pools/", f"make one with `labeler init {chosen}`"
        )
    return paths


def create(directory: Path, classes: tuple[str, ...] | None = None) -> WorkspacePaths:
    """Make the folders of a workspace; an existing one is completed, nothing in it is changed or removed.

    Raises:
        WorkspaceError: the folder cannot be made, or already is a workspace with other classes.
    """
    paths = WorkspacePaths(Path(os.path.abspath(directory)))
    settings_file = paths.root / "labeler.toml"
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        if settings_file.exists():
            settings = load(paths.root, environment={})
            if classes is not None and settings.classes != classes:
                raise WorkspaceError(
                    f"{directory} is a workspace for {', '.join(settings.classes)}",
                    f"choose another folder, or edit classes in {settings_file}",
                )
        else:
            settings = Settings(classes=classes) if classes else load(paths.root, environment={})
            write(paths.root, {"classes": list(settings.classes)})
        make_folders(paths, settings.classes)
    except OSError as error:
        raise WorkspaceError(
            f"cannot make a workspace at {directory}: {error.strerror}", "choose another folder"
        ) from None
    return paths


def make_folders(paths: WorkspacePaths, classes: tuple[str, ...]) -> None:
    """Make every folder that is missing.

    ``db/`` is for this user alone, whatever the umask: it holds passwords' hashes, sessions and pictures. One that is
    there keeps its rights, so that a group may be let in on purpose (docs/SECURITY.md).
    """
    paths.db.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (paths.split(Split.UNLABELLED), paths.quarantine, paths.models):
        folder.mkdir(parents=True, exist_ok=True)
    for name in classes:
        paths.class_folder(Split.TRAIN, name).mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def exclusive(paths: WorkspacePaths, name: str = "workspace", wait_s: float = 0.0) -> Iterator[None]:
    """Hold the workspace's lock ``name``; the lock goes with the process, however it ends.

    Raises:
        WorkspaceBusy: another process holds it; the message carries its pid.
        WorkspaceError: the lock cannot be made: the workspace is gone, full or read-only.
    """
    from filelock import FileLock, Timeout

    file = paths.db / f"{name}.lock"
    holder = paths.db / f"{name}.pid"
    lock = FileLock(file)
    if not paths.db.is_dir():  # which the lock would make
        raise WorkspaceError(f"the workspace {paths.root} is gone: it has no db/", "put it back, then try again")
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        pid = holder.read_text(encoding="ascii", errors="replace").strip() if holder.is_file() else "unknown"
        raise WorkspaceBusy(
            f"{paths.root} is in use by another labeler (process {pid})", "wait for it or stop it, then try again"
        ) from None
    except (OSError, NotImplementedError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise WorkspaceError(f"cannot lock {file}: {why}", "give yourself write access there, and free space") from None
    try:
        with contextlib.suppress(OSError):  # for a message only; a full disk must not keep anybody from going on
            holder.write_text(str(os.getpid()), encoding="ascii")
        yield
    finally:
        lock.release()
