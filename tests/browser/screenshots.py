"""The pictures of the README, made from the real page: `make screenshots`.

Faces that the demo draws, two rounds with an oracle, then a real server and a real Chromium; only sizes and colour
schemes are chosen here. Run again after a change of the page, and look at what comes out.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from labeler import demonstration
from labeler.rounds import Workspace
from tests.browser.served import FLAGS, Server, Visitor, chromium

IMAGES = Path(__file__).parents[2] / "docs" / "images"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


def main() -> None:
    path = chromium()
    if path is None:
        raise SystemExit("no Chromium here (chromium, chromium-browser or google-chrome)")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="labeler-screenshots-") as folder:
        root = Path(folder) / "faces"
        demonstration.run(root, seed=0)
        with Workspace.open(root) as ws:
            ws.run_round_job()
        server = Server(root, 50).start()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
                for name, take in PICTURES.items():
                    take(browser, server.url, IMAGES / f"{name}.png")
                    lighten(IMAGES / f"{name}.png")
                    print(IMAGES / f"{name}.png", file=sys.stderr)
                browser.close()
        finally:
            server.stop()


def lighten(file: Path) -> None:
    """256 colours are enough for a README, at a third of the size."""
    with Image.open(file) as picture:
        picture.convert("RGB").quantize(256).save(file, optimize=True)


def labelling(scheme: str, size: dict[str, int]) -> Callable[[Browser, str, Path], None]:
    """The labelling tab after a few answers."""

    def take(browser: Browser, url: str, file: Path) -> None:
        visitor = Visitor(browser, url, color_scheme=scheme)
        visitor.page.set_viewport_size(size)  # type: ignore[arg-type]
        visitor.open().press("Enter", "Enter", "s", "2", delay_ms=150)
        visitor.wait_text("saved-text", "all saved")
        visitor.page.screenshot(path=file)
        visitor.press("u", "u", "u", "u", delay_ms=150)  # so that every picture shows the same
        visitor.wait_outbox(0)
        visitor.close()

    return take


def grid(browser: Browser, url: str, file: Path) -> None:
    visitor = Visitor(browser, url).open().grid()
    visitor.page.locator(".lb-tile").nth(6).click()
    visitor.page.screenshot(path=file)
    visitor.close()


def tab(name: str, scheme: str) -> Callable[[Browser, str, Path], None]:
    """Another tab of the application."""

    def take(browser: Browser, url: str, file: Path) -> None:
        visitor = Visitor(browser, url, color_scheme=scheme)
        visitor.open()
        page: Page = visitor.page
        page.get_by_role("tab", name=name).click()
        page.wait_for_timeout(2500)
        page.screenshot(path=file, full_page=True)
        visitor.close()

    return take


PICTURES: dict[str, Callable[[Browser, str, Path], None]] = {
    "label-light": labelling("light", DESK),
    "label-dark": labelling("dark", DESK),
    "label-phone": labelling("light", PHONE),
    "grid": grid,
    "model": tab("Model", "light"),
    "model-dark": tab("Model", "dark"),
    "team": tab("Team", "light"),
}

if __name__ == "__main__":
    main()
