"""The grid against one image at a time: presses and seconds for sorting images of known truth.

    python tests/bench/grid_speed.py [--n 240] [--reaction-ms 300]

A real server, real photographs, a real model trained on the first batches, real Chromium. A scripted person takes the
same time before every press and every click, knows the truth, and does nothing else: one by one the key of the class,
in the grid a click on each wrong image and Enter. Both sides work on copies of one workspace, in turn; what the person
waits for the server counts. The two modes hand out different images (the grid those the model is fairly sure of),
which changes nothing one by one: there it is one press an image, whatever it shows.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from playwright.sync_api import Browser, sync_playwright

from labeler import workspace as workspaces
from labeler.domain import Action, Answer
from labeler.record import images
from labeler.rounds import Workspace
from tests.browser.served import FLAGS, Server, Visitor, chromium, decisions
from tests.conftest import photographs_folder

CLASSES = ("withMask", "withoutMask")
FIRST = 100
NEXT_IMAGE = """before => document.querySelector(".lb").dataset.state === "label"
  && document.querySelector(".lb-stage").dataset.picture === "ready"
  && document.querySelector(".lb-frame img").src !== before"""
NEXT_PAGE = """before => document.querySelector(".lb").dataset.state === "label"
  && document.querySelector(".lb-tile img").src !== before
  && [...document.querySelectorAll(".lb-tile img")].every((one) => one.dataset.state === "ready")"""

Work = Callable[["Visitor", dict[str, str], int, int, "Side"], None]


@dataclass
class Side:
    """What one way of working took."""

    presses: int = 0
    seconds: float = 0.0
    images: int = 0
    wrong: int = 0

    def line(self, name: str) -> str:
        kept = f"{self.images} images, {self.presses} presses and clicks, {self.seconds:.1f} s"
        return f"{name:<12} {kept}, {60 * self.images / self.seconds:.0f} a minute, {self.wrong} labelled wrongly"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=240, help="images to sort on each side")
    parser.add_argument("--reaction-ms", type=int, default=300, help="before every press and click")
    arguments = parser.parse_args()
    path, photographs = chromium(), photographs_folder()
    if path is None or photographs is None:
        raise SystemExit("grid_speed: no Chromium or no photographs here (LABELER_TEST_DATA)")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        truth = _workspace(Path(scratch), photographs, 3 * arguments.n + FIRST)
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        print(
            f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Chromium {browser.version}"
        )
        print(f"{arguments.n} photographs a side, {arguments.reaction_ms} ms before every press")
        sides = {}
        for name, work in (("one by one", _one_by_one), ("grid", _grid)):
            shutil.copytree(Path(scratch) / "w", Path(scratch) / name)
            sides[name] = _measure(browser, Path(scratch) / name, truth, arguments.n, arguments.reaction_ms, work)
            print(sides[name].line(name), flush=True)
        single, grid = sides["one by one"], sides["grid"]
        for what, ratio, most in (
            ("presses", (grid.presses / grid.images) / (single.presses / single.images), 1 / 3),
            ("time", (grid.seconds / grid.images) / (single.seconds / single.images), 1 / 2),
        ):
            verdict = "met" if ratio <= most else "MISSED"
            print(f"{what} an image, grid / one by one: {ratio:.3f}  target {most:.2f}: {verdict}")
        browser.close()


def _workspace(scratch: Path, photographs: Path, count: int) -> dict[str, str]:
    """A pool and a model that has learned from its first images; returns sha256 -> class."""
    pool, truth = scratch / "pool", {}
    pool.mkdir()
    for label in CLASSES:
        for file in sorted((photographs / label).iterdir())[: count // 2]:
            shutil.copy(file, pool / f"{label}-{file.name}")
            truth[hashlib.sha256(file.read_bytes()).hexdigest()] = label
    workspaces.create(scratch / "w", CLASSES)
    with Workspace.open(scratch / "w") as opened:
        opened.import_images(pool, into="unlabelled")
        for _ in range(2):
            opened.round(k=FIRST // 2)
            batch = opened.batch("local")
            answers = [
                Answer(item.sha256, Action.CORRECT, truth[item.sha256], f"first-{item.sha256[:16]}")
                for item in batch.items
            ]
            opened.decide("local", answers, round=batch.round)
            opened.run_round_job()
    return truth


def _measure(browser: Browser, root: Path, truth: dict[str, str], n: int, reaction_ms: int, work: Work) -> Side:
    server = Server(root, k=20).start()
    try:
        visitor = Visitor(browser, server.url).open()
        side = Side()
        work(visitor, truth, n, reaction_ms, side)
        visitor.wait_outbox(0)
        visitor.close()
    finally:
        server.stop()
    with Workspace.open(root) as opened:
        with opened.store.read() as session:
            by_image = {image.id: image.sha256 for image in images.every(session)}
        rows = decisions(opened)[-side.images :]
        side.wrong = sum(row.label != truth[by_image[row.image_id]] for row in rows)
    return side


def _one_by_one(visitor: Visitor, truth: dict[str, str], n: int, reaction_ms: int, side: Side) -> None:
    page, started, before = visitor.page, time.perf_counter(), None
    while side.images < n:
        page.wait_for_function(NEXT_IMAGE, arg=before, polling="raf")
        before = page.evaluate("document.querySelector('.lb-frame img').src")
        page.wait_for_timeout(reaction_ms)
        page.keyboard.press(str(CLASSES.index(truth[_sha(before)]) + 1))
        side.presses += 1
        side.images += 1
    side.seconds = time.perf_counter() - started


def _grid(visitor: Visitor, truth: dict[str, str], n: int, reaction_ms: int, side: Side) -> None:
    page = visitor.grid().page
    started, before = time.perf_counter(), ""
    while side.images < n:
        page.wait_for_function(NEXT_PAGE, arg=before, polling="raf")
        tiles = page.locator(".lb-tile img").evaluate_all("all => all.map((one) => one.src)")
        presumed = next(label for label in reversed(CLASSES) if f"like {label}?" in visitor.text("grid-title"))
        before = tiles[0]
        for index, source in enumerate(tiles):
            if truth[_sha(source)] != presumed:
                page.wait_for_timeout(reaction_ms)
                page.locator(".lb-tile").nth(index).click()
                side.presses += 1
        page.wait_for_timeout(reaction_ms)
        page.keyboard.press("Enter")
        side.presses += 1
        side.images += len(tiles)
    side.seconds = time.perf_counter() - started


def _sha(source: str) -> str:
    return source.rsplit("v=", 1)[1]


if __name__ == "__main__":
    main()
