from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labeler.domain import LabelerError, Progress, WeightsUnavailable
from labeler.embed import backbones, runtime
from labeler.embed.pixels import load_square
from tests.embed.conftest import RUBBISH

Faces = Mapping[str, Sequence[Path]]


@pytest.fixture(scope="module")
def pixels(faces: Faces) -> NDArray[np.uint8]:
    files = (*faces["withMask"][:16], *faces["withoutMask"][:16])
    return np.stack([load_square(file, 224, 100_000_000) for file in files])


@pytest.fixture(scope="module")
def reference(keras_lite0: Any, pixels: NDArray[np.uint8], lite0: backbones.Backbone) -> NDArray[np.float32]:
    outputs = keras_lite0.predict(pixels.astype(np.float32), verbose=0)
    return np.concatenate([outputs[part.name] for part in lite0.parts], axis=1)


def cosines(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    result: NDArray[np.floating[Any]] = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return result


def parts_of(vectors: NDArray[np.float32], backbone: backbones.Backbone) -> list[NDArray[np.float32]]:
    return np.split(vectors, np.cumsum([part.dimension for part in backbone.parts])[:-1], axis=1)


def test_float_vectors_are_those_of_keras(
    compiled: Path, lite0: backbones.Backbone, pixels: NDArray[np.uint8], reference: NDArray[np.float32]
) -> None:
    made = runtime.open_runtime(lite0, compiled, threads=1).embed(pixels)
    assert made.dtype == np.float32
    assert made.shape == (32, 3104)
    for ours, theirs in zip(parts_of(made, lite0), parts_of(reference, lite0), strict=True):
        assert cosines(ours, theirs).min() >= 0.99999
    np.testing.assert_allclose(made, reference, rtol=1e-3, atol=1e-3)


def test_int8_vectors_are_near_those_of_keras(
    compiled_int8: Path, lite0_int8: backbones.Backbone, pixels: NDArray[np.uint8], reference: NDArray[np.float32]
) -> None:
    made = runtime.open_runtime(lite0_int8, compiled_int8, threads=1).embed(pixels)
    for ours, theirs, least in zip(
        parts_of(made, lite0_int8), parts_of(reference, lite0_int8), (0.99, 0.99, 0.97), strict=True
    ):
        assert np.median(cosines(ours, theirs)) >= least
    # And each is nearest to its own image's, so nothing is shifted or mixed up.
    scores = (made / np.linalg.norm(made, axis=1)[:, None]) @ (reference / np.linalg.norm(reference, axis=1)[:, None]).T
    assert (scores.argmax(axis=1) == np.arange(32)).all()


def test_a_vector_depends_on_its_image_alone(
    compiled: Path, lite0: backbones.Backbone, pixels: NDArray[np.uint8]
) -> None:
    opened = runtime.open_runtime(lite0, compiled, threads=3)
    whole = opened.embed(pixels)
    with ThreadPoolExecutor(6) as executor:  # more callers than interpreters
        cut = [pixels[start : start + 1 + start % 3] for start in range(32)]
        pieces = list(executor.map(opened.embed, cut))
    for start, piece in enumerate(pieces):
        np.testing.assert_array_equal(piece, whole[start : start + len(piece)])
    assert opened.embed(pixels[:0]).shape == (0, 3104)


def test_a_converted_backbone_is_not_converted_again(compiled: Path, lite0: backbones.Backbone) -> None:
    file = runtime.compiled_file(lite0, compiled)
    before = file.stat().st_mtime_ns
    told: list[Progress] = []
    runtime.open_runtime(lite0, compiled, threads=1, progress=told.append).close()
    assert file.stat().st_mtime_ns == before
    assert told == []


def test_a_damaged_file_is_made_anew_and_random_weights_run(
    compiled_mobilenet: Path, random_mobilenet: backbones.Backbone, pixels: NDArray[np.uint8]
) -> None:
    file = runtime.compiled_file(random_mobilenet, compiled_mobilenet)
    assert not file.read_bytes().startswith(RUBBISH)
    made = runtime.open_runtime(random_mobilenet, compiled_mobilenet, threads=1).embed(pixels[:3])
    assert made.shape == (3, 1280)
    assert np.isfinite(made).all()
    assert (made[0] != made[1]).any()
    assert list(compiled_mobilenet.glob("*.tmp")) == []


def test_a_run_loads_no_tensorflow_and_says_nothing(compiled: Path, lite0: backbones.Backbone) -> None:
    code = f"""
import sys
from pathlib import Path
import numpy as np
from labeler.embed import backbones, runtime
opened = runtime.open_runtime(backbones.resolve("efficientnet_lite0"), Path({str(compiled)!r}), threads=1)
opened.embed(np.zeros((1, 224, 224, 3), np.uint8))
print([name for name in ("tensorflow", "keras", "sklearn") if name in sys.modules])
print("still heard", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr.strip() == "still heard"


def test_imagenet_weights_without_network_are_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the converter does not import a module that happens to lie in the current folder."""
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('the wrong module')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens on the discard port
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(WeightsUnavailable, match="ImageNet weights of mobilenet_v2 are not on this machine") as caught:
        runtime.open_runtime(backbones.resolve("mobilenet_v2"), tmp_path / "compiled", threads=1)
    assert "--weights FILE" in caught.value.remedy
    assert "\n" not in str(caught.value)
    assert [file.name for file in (tmp_path / "compiled").iterdir()] == ["writing.lock"]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (json.dumps({"kind": "weights", "what": "no weights", "remedy": "give some"}), WeightsUnavailable),
        (json.dumps({"kind": "other", "what": "no", "remedy": "yes"}), LabelerError),
        ("Killed", LabelerError),
        ("", LabelerError),
    ],
)
def test_a_converter_that_fails_is_one_clear_line(
    tmp_path: Path, lite0: backbones.Backbone, monkeypatch: pytest.MonkeyPatch, said: str, kind: type[LabelerError]
) -> None:
    """The child is real, and fails as told: a stand-in for running out of memory, which cannot be made to happen."""
    child = tmp_path / "python"
    child.write_text(f"#!/bin/sh\necho '{said}'\necho noise >&2\nexit 3\n", encoding="utf-8")
    child.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(child))
    with pytest.raises(kind) as caught:
        runtime.open_runtime(lite0, tmp_path / "compiled", threads=1)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    assert [file.name for file in (tmp_path / "compiled").iterdir()] == ["writing.lock"]
