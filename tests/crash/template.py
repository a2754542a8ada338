"""The small real workspace that is crashed: drawn images, real vectors, a first model, eight accounts, the triggers."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from labeler import Oracle, workspace
from labeler.domain import Split
from labeler.record import accounts
from labeler.rounds import Workspace
from labeler.settings import write
from tests.crash.clients import PASSWORD, PEOPLE
from tests.crash.evidence import watch

CLASSES = ("round", "square")
SIDE = 40
#: What the workspace is set to: small batches, one thread, and leases that outlast the soak, so that an image that is
#: with two people was handed out twice.
SETTINGS = {
    "classes": list(CLASSES),
    "k": 8,
    "grid": 8,
    "threads": 1,
    "lease_s": 86_400,
    "patience_s": 0.3,
    "refresh": "head",
}


def draw(folder: Path, seed: int) -> tuple[str, str]:
    """A disc or a box on noise, ``<class>/<seed>.png``; returns its SHA-256 and class."""
    label = CLASSES[seed % 2]
    rng = np.random.default_rng([seed, 6])
    image = Image.fromarray(rng.integers(90, 160, (SIDE, SIDE, 3), dtype=np.uint8))
    x, y = (int(number) for number in rng.integers(2, 14, 2))
    side = int(rng.integers(16, 24))
    pen = ImageDraw.Draw(image)
    shape = pen.ellipse if label == "round" else pen.rectangle
    shape((x, y, x + side, y + side), fill=tuple(int(level) for level in rng.integers(0, 255, 3)))
    file = folder / label / f"{seed:05d}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)
    return hashlib.sha256(file.read_bytes()).hexdigest(), label


def draw_all(folder: Path, seeds: range) -> dict[str, str]:
    """The class of each drawing by its SHA-256; ``folder`` is then an oracle's truth."""
    return dict(draw(folder, seed) for seed in seeds)


def build(folder: Path, pool: int, tested: int, compiled: Path | None = None) -> None:
    """Make ``w``, the workspace, and ``truth``, its drawings, in ``folder``.

    Args:
        folder: an empty one.
        pool: images to label, seeds from 0 on.
        tested: images of the test split, the seeds that follow.
        compiled: a folder with the converted backbone, so that it need not be converted here (10 s).
    """
    truth, source = folder / "truth", folder / "source"
    draw_all(truth, range(pool + tested))
    for file in truth.rglob("*.png"):
        number = int(file.stem)
        target = source / "pool" / file.name if number < pool else source / "test" / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    paths = workspace.create(folder / "w", CLASSES)
    write(paths.root, SETTINGS)
    if compiled is not None:
        shutil.copytree(compiled, paths.compiled)
    with Workspace.open(paths.root) as opened:
        assert opened.import_images(source / "pool", into="unlabelled").imported == pool
        assert opened.import_images(source / "test", into="test").imported == tested
        opened.round(k=16, annotator=Oracle.from_folder(truth))
        opened.learner.material(Split.TEST)
        opened.run_round_job()  # a first ranking, so that nobody has to wait for one
        _admit(opened)
    shutil.rmtree(source)
    watch(paths.root)


def _admit(opened: Workspace) -> None:
    """Eight accounts with one password, whose hash is cheap: its cost is not what is tested here."""
    before, accounts.COST = accounts.COST, accounts.Cost(n=2**10, r=8, p=1)
    try:
        hashed = accounts.hash_password(PASSWORD)
    finally:
        accounts.COST = before
    with opened.store.write() as session:
        for name in PEOPLE:
            accounts.add(session, name, hashed, admin=name == PEOPLE[0])
