"""labeler: unlabelled photographs in, a trained image classifier out, with as few human labels as possible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labeler.version import __version__

__all__ = ["Oracle", "Workspace", "__version__"]

if TYPE_CHECKING:
    from labeler.oracle import Oracle
    from labeler.rounds import Workspace


def __getattr__(name: str) -> Any:
    # Imported on first use: `labeler --help` must not pay for SQLAlchemy, numpy and the rest.
    if name == "Workspace":
        from labeler.rounds import Workspace

        return Workspace
    if name == "Oracle":
        from labeler.oracle import Oracle

        return Oracle
    raise AttributeError(f"module 'labeler' has no attribute {name!r}")
