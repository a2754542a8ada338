"""The Model tab: how good the model is, how it got there, and what is in which folder.

The curve is Gradio's own plot. Tables are drawn by our script from values, so that a class name stays a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labeler.review.skeletons import own_html
from labeler.review.words import word

if TYPE_CHECKING:
    from gradio import LinePlot, Tab

    from labeler.rounds import Workspace

#: Key in the metrics -> words for it; drawn in this order.
CURVES = {"accuracy": "model.accuracy", "f1": "model.f1"}


def build(workspace: Workspace, tab: Tab) -> None:
    """Fill the tab; it asks for the figures each time somebody comes to it."""
    import gradio as gr

    labels, share, name = word("model.curveX"), word("model.curveY"), word("model.measure")
    facts = own_html("model.html", "model.js", elem_id="model-facts")
    plot = gr.LinePlot(
        x=labels,
        y=share,
        color=name,
        x_title=labels,
        y_title=" ",
        title=word("model.curve"),
        height=280,
        show_label=False,
        tooltip="all",
        buttons=[],
        color_map={word("model.accuracy"): "#1f9988", word("model.f1"): "#d97706"},
        visible=False,
        elem_id="model-curve",
    )
    tables = own_html("tables.html", "model.js", elem_id="model-tables")

    def figures() -> tuple[dict[str, Any], LinePlot, dict[str, Any]]:
        overview = workspace.overview()
        points = curve(overview)
        return overview, gr.LinePlot(points, visible=bool(points["data"])), overview

    tab.select(figures, outputs=[facts, plot, tables], show_progress="hidden", api_visibility="private")


def curve(overview: Mapping[str, Any]) -> dict[str, Any]:
    """Gradio's form of a table for a plot: a row (labels, percent, name) for each round and measure with a value."""
    columns = [word("model.curveX"), word("model.curveY"), word("model.measure")]
    rows = [
        [row["labelled"], round(100 * row["metrics"][key], 2), word(words)]
        for row in overview["rounds"]
        for key, words in CURVES.items()
        if row["metrics"] and row["metrics"].get(key) is not None
    ]
    kinds = ("quantitative", "quantitative", "nominal")
    return {"columns": columns, "data": rows, "datatypes": dict(zip(columns, kinds, strict=True)), "mark": "line"}
