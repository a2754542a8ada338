"""Components of the page that are ours from the inside: a fixed skeleton in Gradio's frame, and our script."""

from __future__ import annotations

import re
from typing import Any, Literal

from labeler.review.words import PAGE

_EVALUATED = re.compile(r"\{\{|\$\{|`|@children")


#: What the labelling page can be in a tab of its own; "label" has the switch to the grid.
Mode = Literal["label", "mistakes", "disputed"]


def own_html(template: str, module: str, elem_id: str, value: Any = None, *, mode: Mode | None = None) -> Any:
    """A component whose skeleton is filled by our own script, with `textContent` only.

    Gradio evaluates templates as JavaScript, so nothing that comes from a file name, a class or a person may enter
    one; the skeletons hold no gap at all.

    Args:
        template: skeleton below ``page/``.
        module: script below ``page/``; its ``mount`` is called with the element and Gradio's channel for values.
        elem_id: id in the document.
        value: handed to the script as it is.
        mode: of the labelling page: which images it asks for, `data-mode` of its root.

    Raises:
        ValueError: the skeleton holds a gap.
    """
    import gradio as gr

    skeleton = (PAGE / template).read_text(encoding="utf-8")
    if _EVALUATED.search(skeleton):
        raise ValueError(f"{template} holds something that Gradio would evaluate")
    if mode is not None:
        skeleton = skeleton.replace('data-mode="label"', f'data-mode="{mode}"', 1)
    start = f'import("/static/app/{module}").then((page) => page.mount(element, {{props, watch}}))'
    return gr.HTML(
        value,
        html_template=skeleton,
        js_on_load=start,
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes=["lb-own"],
        container=False,
    )
