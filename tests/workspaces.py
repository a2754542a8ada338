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
from tests.sharing import once

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


def build(folder: Path, truth: Path) -> None:
    """``w``: a workspace with the drawings imported and their vectors cached; ``compiled``: what ran the backbone.

    The conversion is that of a workspace that has just been made. It is moved away afterwards: the vectors are cached,
    and nothing that uses ``w`` needs the network again.
    """
    paths = workspace.create(folder / "w", CLASSES)
    source = folder / "source"
    for number, file in enumerate(sorted(truth.rglob("*.png"), key=lambda file: file.name)):
        target = source / "pool" if number < POOL else source / "test" / file.parent.name
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target / file.name)
    with Workspace.open(paths.root) as opened:
        assert opened.import_images(source / "pool", into="unlabelled").imported == POOL
        assert opened.import_images(source / "test", into="test").imported == TEST
        from labeler.domain import Split

        opened.learner.material(Split.UNLABELLED, Split.TEST)
    paths.compiled.rename(folder / "compiled")


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory, truth: Path) -> Path:
    """The folder of :func:`build`: for all processes of the run."""
    return once(tmp_path_factory, "built", lambda folder: build(folder, truth))


@pytest.fixture(scope="session")
def built(build_once: Path) -> Path:
    """A workspace with the drawings imported and their vectors cached; tests copy it."""
    return build_once / "w"


@pytest.fixture(scope="session")
def compiled(build_once: Path) -> Path:
    """The default backbone converted for the fast runtime; nothing else is in this folder, and nobody writes to it."""
    return build_once / "compiled"


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
