"""The Team tab: who labelled what, how fast, and how far people agree. Who is no administrator sees no one else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labeler.domain import LabelerError
from labeler.review.skeletons import own_html
from labeler.review.tabs import Asker, on_select

if TYPE_CHECKING:
    from gradio import Tab

    from labeler.rounds import Workspace


def build(workspace: Workspace, tab: Tab) -> None:
    """Fill the tab; the agreement takes seconds to compute and comes after the rest."""

    def agreement(asker: Asker) -> dict[str, Any]:
        try:
            return {"found": workspace.agreement(asker.user, everyone=asker.admin), "failed": False}
        except LabelerError:
            return {"found": None, "failed": True}

    on_select(
        tab,
        lambda asker: workspace.team(asker.user, everyone=asker.admin),
        own_html("team.html", "team.js", elem_id="team-page"),
    )
    on_select(tab, agreement, own_html("agreement.html", "team.js", elem_id="agreement-page"))
