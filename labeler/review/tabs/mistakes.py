"""The Mistakes tab: labelled images whose label the model disputes, to look at again, and those people marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labeler.review.skeletons import own_html
from labeler.review.tabs import on_select

if TYPE_CHECKING:
    from gradio import Tab

    from labeler.rounds import Workspace


def build(workspace: Workspace, tab: Tab) -> None:
    """Fill the tab: the labelling page in another mode, and a list."""
    own_html("label.html", "label.js", elem_id="mistakes-page", mode="mistakes")
    on_select(
        tab, lambda _asker: {"flags": workspace.flagged()}, own_html("flags.html", "flags.js", elem_id="flags-page")
    )
