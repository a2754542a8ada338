"""A small real workspace: images drawn by the test, real vectors, a real record; built once, copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from labeler import workspace
from labeler.rounds import Workspace

CLASSES = ("round", "square")
POOL, TEST = 40, 20


def draw(folder: Path, seed: int, label: str) -> Path:
    """A disc or a box of random colour, place and size on noise: two classes a frozen network can tell apart."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(90, 160, (96, 96, 3), dtype=np.uint8))
    x, y = rng.integers(8, 40, 2)
    side = int(rng.integers(32, 48))
    box = (int(x), int(y), int(x) + side, int(y) + side)
    colour = tuple(int(c) for c in rng.integers(0, 255, 3))
    pen = ImageDraw.Draw(image)
    (pen.ellipse if label == "round" else pen.rectangle)(box, fill=colour)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"shape-{seed:04d}.png"
    image.save(file)
    return file


@pytest.fixture(scope="session")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``all/<class>/`` holds every drawing: the oracle's truth."""
    folder = tmp_path_factory.mktemp("truth")
    for seed in range(POOL + TEST):
        draw(folder / CLASSES[seed % 2], seed, CLASSES[seed % 2])
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, truth: Path, compiled: Path) -> Path:
    """A workspace with the drawings imported and their vectors cached; tests copy it."""
    root = tmp_path_factory.mktemp("built") / "w"
    paths = workspace.create(root, CLASSES)
    shutil.copytree(compiled, paths.compiled)
    source = root.parent / "source"
    for number, file in enumerate(sorted(truth.rglob("*.png"), key=lambda file: file.name)):
        folder = source / "pool" if number < POOL else source / "test" / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / file.name)
    with Workspace.open(root) as opened:
        assert opened.import_images(source / "pool", into="unlabelled").imported == POOL
        assert opened.import_images(source / "test", into="test").imported == TEST
        from labeler.domain import Split

        opened.learner.material(Split.UNLABELLED, Split.TEST)
    shutil.rmtree(paths.compiled)  # the vectors are cached: nothing here needs the network again
    return root


@pytest.fixture
def fresh(built: Path, tmp_path: Path) -> Callable[[], Path]:
    """Copies of the built workspace, as many as a test wants."""
    count = iter(range(1000))

    def copy() -> Path:
        root = tmp_path / f"w{next(count)}"
        shutil.copytree(built, root)
        return root

    return copy


@pytest.fixture
def opened(fresh: Callable[[], Path]) -> Iterator[Workspace]:
    """An opened copy with ``k`` of 8."""
    with Workspace.open(fresh(), k=8) as ws:
        yield ws
