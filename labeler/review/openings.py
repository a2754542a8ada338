"""Every path that a request may have: who may ask for it, how, and how much may come with it.

What is not named here does not exist for a visitor, so a new version of Gradio cannot open anything by itself.
"""

from __future__ import annotations

from collections.abc import Mapping

MAX_BODY = 256 * 1024
#: Bytes a request may hold where that is not :data:`MAX_BODY`.
BODIES: Mapping[str, int] = {"/api/try": 20 * 1024 * 1024, "/login": 16 * 1024}

#: No file has a longer name; asking the disk for one would be an error and not a miss.
LONGEST_NAME = 200

_GET = frozenset({"GET"})
_LOOK = frozenset({"GET", "HEAD"})
_POST = frozenset({"POST"})

#: Paths of our own, and how they may be asked.
OWN: Mapping[str, frozenset[str]] = {
    "/healthz": _GET,
    "/metrics": _GET,
    "/login": _GET | _POST,
    "/logout": _POST,
    "/logout-everywhere": _POST,
    "/api/batch": _GET,
    "/api/status": _GET,
    "/api/decisions": _POST,
    "/api/figures/cell": _GET,
    "/api/round": _POST,
    "/api/try": _POST,
    "/api/openapi.json": _GET,
}
#: What Gradio's page needs to come up and to run the listeners of its tabs; measured in a browser.
GRADIO: Mapping[str, frozenset[str]] = {
    "/": _LOOK,
    "/config": _GET,
    "/theme.css": _GET,
    "/favicon.ico": _GET,
    "/robots.txt": _GET,
    "/manifest.json": _GET,
    "/gradio_api/app_id": _GET,
    "/gradio_api/startup-events": _GET,
    "/gradio_api/theme.css": _GET,
    "/gradio_api/queue/join": _POST,
    "/gradio_api/queue/data": _GET,
    "/gradio_api/reset": _POST,
}
BELOW: Mapping[str, frozenset[str]] = {
    "/static/": _LOOK,
    "/image/": _GET,
    "/api/explain/": _GET,
    "/assets/": _LOOK,
    "/svelte/": _LOOK,
    "/gradio_api/heartbeat/": _GET,
}
#: What somebody who is not signed in may ask for.
WITHOUT_SESSION = frozenset({"/login", "/logout", "/static/app/login.css", "/healthz", "/favicon.ico"})
#: What a link on another site may lead to.
PAGES = frozenset({"/", "/login"})
#: What is for administrators alone.
FOR_ADMINS = frozenset({"/metrics"})


def methods(path: str) -> frozenset[str]:
    """How ``path`` may be asked for; a path without any does not exist for a visitor."""
    parts = path.split("/")
    if "\\" in path or "\0" in path or ".." in parts or any(len(part) > LONGEST_NAME for part in parts):
        return frozenset()
    for table in (OWN, GRADIO):
        if path in table:
            return table[path]
    return next((how for prefix, how in BELOW.items() if path.startswith(prefix)), frozenset())
