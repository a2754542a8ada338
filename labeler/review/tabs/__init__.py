"""The tabs beside the labelling page. Each asks for its figures whenever somebody comes to it; our scripts draw them.

Drawn by us instead of by Gradio's plots: those log a warning to the console, know neither bounds nor dark mode, load
286 KB more and cannot be read out; a small SVG with its table beside it can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labeler.review.guard import ADMIN

if TYPE_CHECKING:
    from gradio import HTML, Tab

AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Asker:
    """Who looks at a tab; without accounts everybody is an administrator."""

    user: str
    admin: bool


def on_select(tab: Tab, figures: Callable[[Asker], Any], output: HTML) -> None:
    """Send ``figures`` of who asks to a component each time the tab is opened."""
    import gradio as gr

    def listener(request: Any) -> Any:
        return figures(asker(request.request.scope))

    # Gradio looks at the annotation to know what to hand over; as text it could not resolve it.
    listener.__annotations__ = {"request": gr.Request}
    tab.select(listener, outputs=[output], show_progress="hidden", api_visibility="private", concurrency_limit=AT_ONCE)


def asker(scope: Any) -> Asker:
    """Whom the guard let in."""
    state = scope.get("state", {})
    return Asker(str(state.get("user", "")), state.get("role") == ADMIN)
