"""Which files a model version has: its own, and the network that several versions may share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from labeler.domain import LabelerError, RecordError
from labeler.pool.disk import sha256_of
from labeler.record.tables import ModelVersion
from labeler.workspace import WorkspacePaths

#: Keys of ``ModelVersion.settings`` that mean something to the program.
NETWORK, CONTEST, DECISIONS, HISTORY = "network", "contest", "decisions", "history"
_OTHER = "use another: `labeler models list`"


def network_path(version: ModelVersion) -> str | None:
    """Where the trained network lies that a version's head sits on; None for a frozen backbone."""
    network = version.settings.get(NETWORK)
    return str(network["path"]) if isinstance(network, Mapping) and network.get("path") else None


def files_of(paths: WorkspacePaths, version: ModelVersion) -> dict[Path, str]:
    """The files of a version, each with the SHA-256 it must have."""
    files = {_below_models(paths, version.path): version.digest}
    network = network_path(version)
    if network is not None:
        files[_below_models(paths, network)] = str(version.settings[NETWORK].get("digest", ""))
    return files


def _below_models(paths: WorkspacePaths, path: str) -> Path:
    """A path from the record as a file in ``db/models``; one that leads elsewhere is never opened or deleted.

    Raises:
        RecordError: it leads elsewhere: the record was tampered with.
    """
    parts = PurePosixPath(path).parts
    if parts[:2] != ("db", "models") or len(parts) < 3 or ".." in parts:
        raise RecordError(f"{path!r} is no file of db/models", "restore the record from a backup")
    return paths.root.joinpath(*parts)


def state(paths: WorkspacePaths, version: ModelVersion) -> str:
    """``sound``, ``damaged``, ``missing`` or ``removed``; reads the files whole."""
    if version.removed_at is not None:
        return "removed"
    for file, digest in files_of(paths, version).items():
        if not file.is_file():
            return "missing"
        if sha256_of(file) != digest:
            return "damaged"
    return "sound"


def check_sound(paths: WorkspacePaths, version: ModelVersion) -> None:
    """See that a version can be used.

    Raises:
        LabelerError: it was removed, or a file of it is missing or damaged.
    """
    found = state(paths, version)
    if found == "removed":
        raise removed(version)
    if found != "sound":
        said = {"missing": "is missing", "damaged": "is not the file that was saved"}[found]
        raise LabelerError(f"a file of the model {version.name} ({version.path}) {said}", f"restore it, or {_OTHER}")


def removed(version: ModelVersion) -> LabelerError:
    """The error that says a version's file was taken away."""
    when = f" on {version.removed_at:%Y-%m-%d}" if version.removed_at is not None else ""
    return LabelerError(f"the file of the model {version.name} was removed{when}", _OTHER)
