"""The Model tab: how good the model is, what it gets wrong, how it got there, and whether labelling may end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import BaseModel

from labeler.domain import UnknownName
from labeler.review.schema import refused_with
from labeler.review.skeletons import own_html
from labeler.review.tabs import on_select

if TYPE_CHECKING:
    from gradio import Tab

    from labeler.rounds import Workspace

ClassName = Annotated[str, Query(min_length=1, max_length=64)]


class CellImage(BaseModel):
    """An image of a cell; ``probability`` is that of ``predicted``."""

    image_id: int
    sha256: str
    name: str
    label: str
    predicted: str
    probability: float


class CellView(BaseModel):
    """The images behind a cell of the confusion matrix: how many, and the 60 of which the model was surest."""

    total: int
    images: list[CellImage]


def build(workspace: Workspace, tab: Tab) -> None:
    """Fill the tab."""
    on_select(tab, lambda _asker: workspace.figures(), own_html("model.html", "model.js", elem_id="model-page"))


def router(workspace: Workspace) -> APIRouter:
    """``GET /api/figures/cell``: what stands behind a number of the table."""
    routes = APIRouter()

    @routes.get("/api/figures/cell", responses=refused_with(404))
    def cell(true: ClassName, predicted: ClassName, response: Response) -> CellView:
        """Images of class ``true`` that the model in use takes for ``predicted``."""
        response.headers["cache-control"] = "no-store"
        try:
            return CellView.model_validate(workspace.figure_cell(true, predicted))
        except UnknownName as error:
            raise HTTPException(404, error.what) from None

    return routes
