"""Exported models say what the program says, alone and on photographs of any size."""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from labeler.domain import LabelerError
from labeler.embed import backbones, service
from labeler.embed.backbones import Backbone
from labeler.embed.networks import keras_model
from labeler.pool.decode import decode
from labeler.rank.features import FeatureMap
from labeler.rank.head import Head, QuickModel
from labeler.rank.readout import Readout
from labeler.retrain import export, export_formats, export_graph

CLASSES = ("withMask", "withoutMask")
TRAINED_ON, TESTED_ON = 30, 50  # of each class
MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class Trained:
    """A model fitted on photographs, and what the program says of a hundred others."""

    backbone: Backbone
    model: QuickModel
    file: Path
    digest: str
    photographs: list[Path]
    said: npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def trained(photographs: Path, compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    backbone = backbones.resolve("efficientnet_lite0")
    files = [sorted((photographs / name).iterdir())[: TRAINED_ON + TESTED_ON] for name in CLASSES]
    order = [file for rows in files for file in rows[:TRAINED_ON]] + [f for rows in files for f in rows[TRAINED_ON:]]
    raw, failed = service.embed_files(order, compiled=compiled, backbone=backbone, threads=0, max_pixels=MAX_PIXELS)
    assert failed == []
    y = np.full(len(order), -1)
    y[: 2 * TRAINED_ON] = np.repeat([0, 1], TRAINED_ON)
    parts = [(part.dimension, part.weight) for part in backbone.parts]
    model = QuickModel.fit(raw, y, parts=parts, classes=CLASSES, backbone_key=backbone.key, C=30.0, seed=0)
    file = tmp_path_factory.mktemp("trained") / "m0001.npz"
    digest = model.save(file)
    said = model.predict_proba(raw[2 * TRAINED_ON :])
    return Trained(backbone, model, file, digest, order[2 * TRAINED_ON :], said)


@pytest.fixture(scope="module")
def network(trained: Trained) -> Any:
    return export_graph.whole(trained.backbone, trained.model)


@pytest.fixture(scope="module")
def decoded(trained: Trained) -> list[npt.NDArray[np.uint8]]:
    """As the example decodes them: a large JPEG at a half, a quarter or an eighth."""
    side = trained.backbone.input_size
    images = [decode(file, max_pixels=MAX_PIXELS, at_least=side)[None] for file in trained.photographs]
    assert len(images) == 100
    assert len({image.shape for image in images}) > 20
    return images


@pytest.fixture(scope="module")
def written(network: Any, trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes the model in a format with its class list and example beside it, once."""
    folder = tmp_path_factory.mktemp("a folder")

    @functools.cache
    def write(form: str) -> Path:
        if form == "onnx":
            pytest.importorskip("tf2onnx")
            pytest.importorskip("onnxruntime")
        model, classes, example = export.targets(folder / form, form)
        export_formats.write(network, form, model)
        classes.write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
        example.write_text(export.example_of(folder / form, form, trained.backbone.input_size), encoding="utf-8")
        return model

    return write


@pytest.mark.parametrize("form", export_formats.FORMATS)
def test_each_format_agrees_with_the_program(
    form: str, trained: Trained, written: Callable[[str], Path], decoded: list[npt.NDArray[np.uint8]]
) -> None:
    """One on all hundred photographs, the others, which run the same graph, on every fourth."""
    chosen = slice(None, None, 1 if form == "litert" else 4)
    images, said = decoded[chosen], trained.said[chosen]
    assert len({image.shape for image in images}) > 8, "of many sizes"
    run = export_formats.opened(written(form), form)
    assert run is not None
    answers = np.concatenate([run(image) for image in images])
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)
    difference = float(np.abs(answers - said).max())
    print(f"{form}: greatest difference {difference:.1e}")
    assert difference < 2e-4  # 1e-3 is promised; the program keeps vectors as float16
    assert (answers.argmax(axis=1) == said.argmax(axis=1)).all()


@pytest.mark.parametrize("forms", [("litert",), ("onnx",), ("keras", "savedmodel")], ids="+".join)
def test_the_example_of_each_format_runs(
    forms: tuple[str, ...], trained: Trained, written: Callable[[str], Path]
) -> None:
    assert_say_the_same([written(form).parent / f"{form}.example.py" for form in forms], trained)


#: Each script as if it were started; those that need TensorFlow, one after the other, load it once.
ONE_AFTER_THE_OTHER = """
import runpy, sys
scripts, files = sys.argv[1].split(","), sys.argv[2:]
for script in scripts:
    sys.argv = [script, *files]
    runpy.run_path(script, run_name="__main__")
"""


def assert_say_the_same(examples: list[Path], trained: Trained) -> None:
    """The examples as a person runs them: another folder, no way to import this program."""
    rows = [0, 7, 60]
    files = [str(trained.photographs[row]) for row in rows]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for example in examples:
        imports = [line for line in example.read_text().splitlines() if "import" in line]
        assert "labeler" not in {word for line in imports for word in line.split()}
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER, ",".join(map(str, examples)), *files],
        cwd=examples[0].parent.parent, capture_output=True, text=True, timeout=280,
        check=False, env=environment | {"CUDA_VISIBLE_DEVICES": "-1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for row, file, line in zip(rows * len(examples), files * len(examples), done.stdout.splitlines(), strict=True):
        name, label, probability = line.split("\t")
        best = int(trained.said[row].argmax())
        assert (name, label) == (file, CLASSES[best])
        assert float(probability) == pytest.approx(trained.said[row, best], abs=1e-3)


def test_a_keras_file_holds_nothing_but_keras(written: Callable[[str], Path]) -> None:
    with zipfile.ZipFile(written("keras")) as archive:
        said = archive.read("config.json").decode()
    assert "Lambda" not in said
    assert "labeler." not in said


SIDES = st.integers(1, 700)


@settings(max_examples=25, deadline=None)
@given(SIDES, SIDES, st.sampled_from([32, 75, 224]), st.integers(0, 2**32))
def test_the_resizing_inside_is_pillows_to_the_last_bit(height: int, width: int, size: int, seed: int) -> None:
    assume(height <= 100 * width)  # Pillow 12.3 begins with the height of taller ones
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
    assert np.array_equal(np.asarray(export_graph.resized(image[None].astype(np.float32), size))[0], expected)


def test_a_large_picture_is_resized_as_pillow_does_it() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR))
    assert np.array_equal(np.asarray(export_graph.resized(image[None].astype(np.float32), 224))[0], expected)


def small_network(folder: Path, columns: int) -> Backbone:
    """A network as fine-tuning leaves it: features, and logits of its own beside them."""
    import keras

    keras.utils.set_random_seed(1)
    pixels = keras.Input((32, 32, 3), name="pixels")
    hidden = keras.layers.Dense(16, activation="relu")(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pixels)))
    outputs = {"pool": hidden, "tuned": keras.layers.Dense(columns)(hidden)}
    keras.Model(pixels, outputs).save(folder / "n.keras")
    parts = [backbones.Part("pool", 16, 0.7), backbones.Part("tuned", columns, 0.0)]
    return backbones.of_file(
        folder / "n.keras", name="small", input_size=32, parts=parts, precision="float32", digest="0" * 64,
        preprocessing=backbones.own_preprocessing(32),
    )  # fmt: skip


def fitted(backbone: Backbone, n_classes: int, present: list[int], recipe: str, *, blended: bool) -> QuickModel:
    """A model with random weights."""
    rng = np.random.default_rng(n_classes)
    dimension, columns = backbone.dimension, 1 if len(present) == 2 else len(present)
    head = Head(
        rng.normal(0, 3, (dimension, columns)).astype(np.float32), rng.normal(0, 1, columns), 1.7,
        np.array(present, np.int64), n_classes,
    )  # fmt: skip
    features = FeatureMap.plain([(part.dimension, part.weight) for part in backbone.parts])
    mean = rng.uniform(0, 0.2, dimension).astype(np.float32)
    features = dataclasses.replace(features, mean=mean, recipe=recipe)
    nobody = (np.empty((0, 32), np.uint8), np.empty((0, 1)))
    readout = Readout(dimension - backbone.parts[-1].dimension, dimension, 1.3, *nobody, 0.4) if blended else None
    return QuickModel(features, head, tuple(f"c{number}" for number in range(n_classes)), backbone.key, readout)


def assert_is_the_model(backbone: Backbone, model: QuickModel, file: Path) -> None:
    """The network, and what is left of it after it was saved and read in safe mode, say what the model says."""
    network = export_graph.whole(backbone, model)
    image = np.random.default_rng(0).integers(0, 256, (1, 60, 91, 3), dtype=np.uint8)
    size = (backbone.input_size, backbone.input_size)
    square = np.asarray(Image.fromarray(image[0]).resize(size, Image.Resampling.BILINEAR), np.float32)[None]
    activations = keras_model(backbone)(square)
    raw = np.concatenate([np.asarray(activations[part.name]) for part in backbone.parts], axis=1)
    expected = model.predict_proba(raw)
    export_formats.write(network, "keras", file)
    run = export_formats.opened(file, "keras")
    assert run is not None
    for answer in (
        np.asarray(network(image)),
        run(image),
        np.asarray(export_graph.classifier(backbone, model)(square)),
    ):
        assert answer.shape == (1, len(model.classes))
        np.testing.assert_allclose(answer, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("n_classes", "present", "recipe", "blended"),
    [
        (2, [0, 1], "rooted", True), (2, [0, 1], "plain", False), (3, [0, 1, 2], "rooted", True),
        (4, [1, 3], "rooted", False), (4, [0, 2, 3], "plain", False), (10, [*range(10)], "rooted", False),
    ],
)  # fmt: skip
def test_more_classes_those_never_seen_and_networks_trained_here(
    n_classes: int, present: list[int], recipe: str, blended: bool, tmp_path: Path
) -> None:
    backbone = small_network(tmp_path, 1 if n_classes == 2 else n_classes)
    model = fitted(backbone, n_classes, present, recipe, blended=blended)
    assert_is_the_model(backbone, model, tmp_path / "m.keras")


@pytest.mark.parametrize("name", ["vgg16", "mobilenet_v2"])
def test_the_scaling_of_other_backbones_survives_safe_loading(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = backbones.resolve(name, weights="none", input_size=32)
    network = functools.cache(keras_model)  # built once instead of for each of the three that are compared
    for module in (export_graph, sys.modules[__name__]):
        monkeypatch.setattr(module, "keras_model", network)
    assert_is_the_model(backbone, fitted(backbone, 3, [0, 1, 2], "rooted", blended=False), tmp_path / "m.keras")


def test_nothing_is_overwritten_without_force(trained: Trained, tmp_path: Path) -> None:
    def run(out: Path, form: str, **options: Any) -> None:
        export.export(trained.backbone, trained.file, trained.digest, out, form=form, **options)

    (tmp_path / "m.keras").write_text("mine")
    with pytest.raises(LabelerError, match=r"m\.keras is there already \(.*--force\)"):
        run(tmp_path / "m", "keras")
    (tmp_path / "n.classes.txt").write_text("mine")
    with pytest.raises(LabelerError, match=r"n\.classes\.txt is there already"):
        run(tmp_path / "n.onnx", "onnx")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/to.txt").write_text("mine")
    with pytest.raises(LabelerError, match=r"letters is a folder and no SavedModel"):
        run(tmp_path / "letters", "savedmodel", force=True)
    with pytest.raises(LabelerError, match=r"the folder .*nowhere does not exist"):
        run(tmp_path / "nowhere/m.keras", "keras")
    with pytest.raises(LabelerError, match=r"no file named m\.bin \(give it the ending \.keras\)"):
        run(tmp_path / "m.bin", "keras")
    with pytest.raises(LabelerError, match=r"no model format 'pickle'"):
        run(tmp_path / "m", "pickle")
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["letters", "m.keras", "n.classes.txt", "to.txt"]


def test_a_damaged_model_is_not_exported(trained: Trained, tmp_path: Path) -> None:
    broken = tmp_path / "m0001.npz"
    broken.write_bytes(trained.file.read_bytes()[:-1])
    with pytest.raises(LabelerError, match="was changed after it was saved"):
        export.export(trained.backbone, broken, trained.digest, tmp_path / "m.keras", form="keras")
    assert [file.name for file in tmp_path.iterdir()] == ["m0001.npz"]


def test_a_model_of_another_backbone_is_refused(trained: Trained) -> None:
    other = backbones.resolve("efficientnet_lite0", weights="none")
    with pytest.raises(LabelerError, match="was made for"):
        export_graph.whole(other, trained.model)


def test_a_file_that_disagrees_is_found_out(trained: Trained, written: Callable[[str], Path]) -> None:
    head = dataclasses.replace(trained.model.head, bias=trained.model.head.bias + 1.0)
    other = dataclasses.replace(trained.model, head=head)
    with pytest.raises(LabelerError, match=r"the litert file disagrees with the model by 0\.\d"):
        export_formats.tried(written("litert"), "litert", trained.backbone, other)


def test_onnx_without_its_package_is_one_clear_line(trained: Trained, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/tf2onnx.py").write_text("raise ImportError('gone', name='tf2onnx')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hidden"))
    with pytest.raises(LabelerError, match=r"a package that is not installed: tf2onnx \(pip install 'labeler\[onnx\]'"):
        export.export(trained.backbone, trained.file, trained.digest, tmp_path / "m.onnx", form="onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["hidden"]


def test_int8_is_exported_in_float32_and_says_so(trained: Trained, network: Any) -> None:
    backbone = backbones.resolve("efficientnet_lite0", precision="int8")
    model = dataclasses.replace(trained.model, backbone_key=backbone.key)
    image = decode(trained.photographs[0], max_pixels=MAX_PIXELS, at_least=224)[None]
    answer = np.asarray(export_graph.whole(backbone, model)(image))
    np.testing.assert_allclose(answer, np.asarray(network(image)), atol=1e-6)
    assert "in int8, the exported network in float32" in export.notes(backbone, 0.0)[0]
    assert export.notes(trained.backbone, 0.0) == []
