"""The one theme of the page. Colours of our own parts are in ``page/label.css``; here Gradio is made to match them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradio.themes import Base

_TEAL = {
    "c50": "#eefaf7",
    "c100": "#d3f2ea",
    "c200": "#a8e4d7",
    "c300": "#74d0bf",
    "c400": "#43b5a3",
    "c500": "#1f9988",
    "c600": "#0b7a6d",
    "c700": "#0b6459",
    "c800": "#0d4f48",
    "c900": "#0e423c",
    "c950": "#052724",
}
_SLATE = {
    "c50": "#f5f6f8",
    "c100": "#eceef2",
    "c200": "#dde1e7",
    "c300": "#c3c9d3",
    "c400": "#949dac",
    "c500": "#667080",
    "c600": "#4b5563",
    "c700": "#353d49",
    "c800": "#1d232b",
    "c900": "#161b21",
    "c950": "#0e1216",
}
_SYSTEM = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def theme() -> Base:
    """System fonts only: no request leaves the machine."""
    from gradio.themes import Base
    from gradio.themes.utils.colors import Color

    teal, slate = Color(name="teal", **_TEAL), Color(name="slate", **_SLATE)
    base = Base(primary_hue=teal, secondary_hue=teal, neutral_hue=slate, font=_SYSTEM, font_mono=_MONO)
    return base.set(
        body_background_fill="#f5f6f8",
        body_background_fill_dark="#0e1216",
        body_text_color="#14181f",
        body_text_color_dark="#e8ebf0",
        body_text_color_subdued="#4b5563",
        body_text_color_subdued_dark="#b6bcc8",
        block_background_fill="#ffffff",
        block_background_fill_dark="#161b21",
        border_color_primary="#dde1e7",
        border_color_primary_dark="#2a313b",
        button_primary_background_fill="#0b6459",
        button_primary_background_fill_hover="#0d4f48",
        button_primary_text_color="#ffffff",
        button_primary_background_fill_dark="#4fd1bd",
        button_primary_background_fill_hover_dark="#74d0bf",
        button_primary_text_color_dark="#06201c",
    )
