"""Both reports in a real Chromium, from real vectors and a real model: axe-core finds nothing, nothing is asked of any
host, nothing runs, nothing is wider than a telephone, and paper is white.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page

from labeler.embed import backbones, service
from labeler.pool import decode
from labeler.rank.head import QuickModel
from labeler.retrain import comparison, groups, report
from labeler.retrain.compare import Contestant
from labeler.retrain.evaluate import metrics
from tests.workspaces import CLASSES, draw

TRAIN, TEST = 30, 90
MAX_PIXELS = 10_000_000
SIZES = {"desk": (1280, 800), "phone": (390, 844)}


@dataclass(frozen=True)
class Pages:
    evaluation: Path
    comparison: Path


@pytest.fixture(scope="module")
def pages(chromium_path: str, compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """A head fitted on 30 drawings and judged on 90, half of them spoilt so that there are mistakes to show."""
    folder = tmp_path_factory.mktemp("reports")
    files = [draw(folder / "images", seed, CLASSES[seed % 2]) for seed in range(TRAIN + TEST)]
    y = np.arange(TRAIN + TEST) % 2
    y[TRAIN::5] = 1 - y[TRAIN::5]  # wrong labels: what the worst mistakes often are
    backbone = backbones.resolve("efficientnet_lite0")
    raw, failed = service.embed_files(files, compiled=compiled, backbone=backbone, threads=1, max_pixels=MAX_PIXELS)
    assert failed == []
    contestants = [one_seed(raw, y, backbone, seed) for seed in range(2)]
    best = contestants[0]
    tested = files[TRAIN:]
    paths = [f"pools/Test/{('beard', 'scarf', 'x')[i % 3]}_{file.name}" for i, file in enumerate(tested)]
    content = report.EvaluationReport(
        title="Shapes",
        model="v0001",
        kind="head on efficientnet_lite0",
        created="2026-01-01",
        settings={"head_c": 30.0},
        seed=0,
        parent=None,
        split="test",
        classes=CLASSES,
        paths=paths,
        y=best.y,
        probabilities=best.probabilities,
        metrics=best.metrics,
        labelled=TRAIN,
        machine="a machine",
        distribution={"Train": dict.fromkeys(CLASSES, 15), "Test": dict.fromkeys(CLASSES, 45)},
        thumbnails=lambda row: decode.thumbnail(tested[row], long_side=96, max_pixels=MAX_PIXELS),
        history={"loss": [0.7, 0.5], "accuracy": [0.6, 0.7], "val_loss": [], "val_accuracy": [], "best_epoch": 0},
        groups=groups.from_names(paths, CLASSES),
        learning_curve=[(10, 0.6, 0.5, 0.7), (30, 0.8, 0.7, 0.9)],
    )
    failures = [("vgg16", "its weights are not on this machine")]
    return Pages(
        report.write(folder / "evaluation", content),
        comparison.write(folder / "comparison", contestants, failures, CLASSES),
    )


def one_seed(raw: Any, y: Any, backbone: backbones.Backbone, seed: int) -> Contestant:
    rng = np.random.default_rng(seed)
    known = np.where(np.arange(len(y)) < TRAIN, y, -1)
    known[rng.permutation(TRAIN)[:6]] = -1
    parts = [(part.dimension, part.weight) for part in backbone.parts]
    start = time.perf_counter()
    model = QuickModel.fit(raw, known, parts=parts, classes=CLASSES, backbone_key=backbone.key, C=30.0, seed=seed)
    seconds = time.perf_counter() - start
    said = model.predict_proba(raw[TRAIN:])
    truth = y[TRAIN:]
    return Contestant(
        name="head",
        weights="imagenet",
        input_size=224,
        seed=seed,
        metrics=metrics(truth, said, classes=CLASSES, split="test"),
        y=truth,
        probabilities=said,
        seconds=seconds,
        parameters=3_400_000,
        trainable=3_105,
        images_per_second=80.0,
        history=None,
        runtime="LiteRT",
    )


@dataclass
class Opened:
    """A page with everything it asked for and everything the browser complained of."""

    page: Page
    asked: list[str]
    said: list[str]


@pytest.fixture
def opened(
    request: pytest.FixtureRequest, browser: Browser, pages: Pages, kind: str, scheme: str, size: str
) -> Iterator[Opened]:
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    found = Opened(page, [], [])
    page.on("request", lambda asked: found.asked.append(asked.url))
    page.on("console", lambda message: found.said.append(message.text))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.goto(getattr(pages, kind).as_uri())
    yield found
    context.close()


def complaints(page: Page) -> list[str]:
    result = Axe().run(page, context=None, options={"resultTypes": ["violations"]})
    return [
        f"{found['id']}: {node['target']} {node.get('failureSummary', '')}"
        for found in result.response["violations"]
        for node in found["nodes"]
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["evaluation", "comparison"])
def test_a_report_is_whole_and_open_to_all(opened: Opened, scheme: str, size: str) -> None:
    page = opened.page
    asked = [url for url in opened.asked if not url.startswith("data:")]
    assert asked == [page.url], "the page asked for something beside itself"
    assert opened.said == []
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0 && i.alt)")
    assert page.evaluate("document.images.length") >= 6
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0], "something sticks out"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(14, 18, 22)" if scheme == "dark" else "rgb(245, 246, 248)")
    assert complaints(page) == []  # last: axe brings a script of its own


@pytest.mark.parametrize("size", ["desk"])
@pytest.mark.parametrize("scheme", ["dark"])
@pytest.mark.parametrize("kind", ["evaluation", "comparison"])
def test_paper_is_white(opened: Opened) -> None:
    page = opened.page
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 673, "height": 1000})  # A4 less its margins
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.images[0]).filter") == "none"
    assert page.evaluate("document.documentElement.scrollWidth") == 673, "a table is cut off on paper"
    assert page.locator("nav").is_hidden()
