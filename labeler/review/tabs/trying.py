"""The Try tab: an image of your own, and what the model says of it. Our script sends it; Gradio's uploads stay shut."""

from __future__ import annotations

from labeler.review.skeletons import own_html


def build() -> None:
    """Fill the tab."""
    own_html("try.html", "try.js", elem_id="try-page")
