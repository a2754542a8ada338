"""The web application: our endpoints first, Gradio for everything that is not labelling, the guard before both."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles

import labeler
from labeler.domain import LabelerError
from labeler.review import accounts, api, health, metrics, try_out
from labeler.review.guard import Guard, Scope
from labeler.review.schema import REFUSALS
from labeler.review.skeletons import own_html
from labeler.review.tabs import model as model_tab
from labeler.review.watching import Traffic, Watch
from labeler.review.words import PAGE, word
from labeler.workspace import WorkspacePaths

if TYPE_CHECKING:
    from gradio import Blocks

    from labeler.rounds import Workspace

#: Our modules are fetched by `import`, which starts once Gradio has built the page; named here they come with it.
_STYLES = ("look", "label", "people", "stage", "grid", "panel", "model", "charts", "gallery", "try", "phone")
_MODULES = (
    "label",
    "batch",
    "clock",
    "dialogs",
    "explain",
    "feed",
    "grid",
    "gridview",
    "history",
    "images",
    "input",
    "keys",
    "memory",
    "outbox",
    "panels",
    "parts",
    "people",
    "server",
    "session",
    "sheet",
    "single",
    "strip",
    "swipe",
    "view",
    "waiting",
    "words",
    "work",
    "zoom",
)


def create_app(workspace: Workspace, *, loopback: bool = True, worker_pid: health.Pid | None = None) -> FastAPI:
    """The application over an open workspace, whose owner closes it afterwards.

    ``app.state.traffic`` is the :class:`Traffic` of its requests.

    Args:
        workspace: what is labelled.
        loopback: served to this machine only, so that nobody has to sign in while there is no account.
        worker_pid: process id of the worker, None while there is none; for the health and the metrics.

    Raises:
        SettingError: the token for the metrics cannot be read.
    """
    app = without_gradio(workspace, loopback=loopback, worker_pid=worker_pid)
    _mount_gradio(app, workspace)
    return app


def without_gradio(workspace: Workspace, *, loopback: bool = True, worker_pid: health.Pid | None = None) -> FastAPI:
    """Guard, endpoints and the page's own files: all that labelling needs."""
    app = FastAPI(
        title="labeler",
        version=labeler.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        responses=REFUSALS,
    )
    door = accounts.Door(workspace, f"labeler-{api.workspace_token(workspace)}", loopback=loopback)
    examiner = health.Examiner(workspace, worker_pid)
    counted = metrics.Metrics(workspace, examiner)
    app.state.traffic = Traffic(counted.registry, workspace.settings.slow_request_s)
    app.include_router(api.router(workspace, counted))
    app.include_router(health.router(examiner))
    app.include_router(metrics.router(counted))
    app.include_router(accounts.router(door))
    app.include_router(model_tab.router(workspace))
    app.include_router(try_out.router(workspace))
    app.add_exception_handler(LabelerError, api.labeler_error)
    app.add_exception_handler(RequestValidationError, api.invalid)
    app.mount("/static/app", PageFiles(directory=PAGE))
    # The last one stands in front.
    app.add_middleware(Guard, admit=door.admit)
    app.add_middleware(metrics.Scraping, metrics=counted, token=metrics.token(workspace.settings, workspace.paths))
    app.add_middleware(Watch, traffic=app.state.traffic)
    return app


class PageFiles(StaticFiles):
    """Our own files, asked about again each time: after an update nobody works with yesterday's script."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response


def _mount_gradio(app: FastAPI, workspace: Workspace) -> None:
    _keep_gradio_quiet(workspace.paths)
    import gradio as gr

    from labeler.review.look import theme

    blocks = _blocks(workspace)
    # Gradio looks for new events a thousand times a second, 4 % of a core for nothing; labelling never queues.
    blocks._queue.sleep_when_free = 0.05  # noqa: SLF001  # it offers no setting
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        auth_dependency=lambda request: str(request.scope["state"]["user"]),
        theme=theme(),
        head=_head(),
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size="1kb",
        blocked_paths=["/"],
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
    )
    page = next(inner for route in app.routes if isinstance(inner := getattr(route, "app", None), gr.routes.App))
    page.add_exception_handler(KeyError, _no_such_function)


async def _no_such_function(request: Request, error: Exception) -> JSONResponse:
    """Gradio looks a function up by the number it is asked for, whatever number that is."""
    if not request.url.path.endswith("/queue/join"):
        raise error
    return JSONResponse({"detail": "there is no such function"}, status_code=404)


def _keep_gradio_quiet(paths: WorkspacePaths) -> None:
    """Nothing leaves the machine and nothing is shared through the system's temporary folder; before the import."""
    os.environ.update(
        {
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_RUN_HISTORY": "False",
            "GRADIO_TEMP_DIR": str(paths.thumbnails.parent / "page"),
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
    )


def _blocks(workspace: Workspace) -> Blocks:
    import gradio as gr

    from labeler.review.tabs import mistakes, model, team, trying

    with gr.Blocks(title="labeler", analytics_enabled=False, fill_width=True) as blocks, gr.Tabs(elem_id="tabs"):
        with gr.Tab(word("tab.label"), id="label", elem_id="tab-label"):
            own_html("label.html", "label.js", elem_id="labelling")
        with gr.Tab(word("tab.mistakes"), id="mistakes", elem_id="tab-mistakes") as tab:
            mistakes.build(workspace, tab)
        with gr.Tab(word("tab.model"), id="model", elem_id="tab-model") as tab:
            model.build(workspace, tab)
        with gr.Tab(word("tab.try"), id="try", elem_id="tab-try"):
            trying.build()
        with gr.Tab(word("tab.team"), id="team", elem_id="tab-team") as tab:
            team.build(workspace, tab)
    blocks.queue(api_open=False)
    return blocks


def _head() -> str:
    lines = [f'<link rel="stylesheet" href="/static/app/{name}.css">' for name in _STYLES]
    lines += [f'<link rel="modulepreload" href="/static/app/{name}.js">' for name in _MODULES]
    return "\n".join(lines)
