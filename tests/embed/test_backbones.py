from __future__ import annotations

import hashlib
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from labeler.domain import SettingError, UnknownName, WeightsUnavailable
from labeler.embed import backbones


def test_the_default_has_the_three_measured_parts() -> None:
    backbone = backbones.resolve("efficientnet_lite0", weights="imagenet", vectors="multi-depth", precision="float32")
    assert [(part.name, part.dimension, part.weight) for part in backbone.parts] == [
        ("block11", 672, 1.0),
        ("block15", 1152, 1.0),
        ("head", 1280, 1.0),
    ]
    assert backbone.dimension == 3104
    assert backbone.input_size == 224


def test_pooled_is_the_last_part_alone() -> None:
    backbone = backbones.resolve("efficientnet_lite0", vectors="pooled")
    assert [(part.name, part.dimension) for part in backbone.parts] == [("head", 1280)]


def test_every_name_of_the_contract_resolves() -> None:
    wanted = {"efficientnet_lite0", "mobilenet_v2", "resnet50", "resnet101", "vgg16", "vgg19", "inception_v3"}
    assert wanted | {"densenet121"} == set(backbones.names())
    assert backbones.names()[0] == "efficientnet_lite0"
    for name in backbones.names():
        assert backbones.resolve(name).name == name


def test_an_unknown_name_is_answered_with_the_names() -> None:
    with pytest.raises(UnknownName, match="resnet51") as caught:
        backbones.resolve("resnet51")
    assert all(name in caught.value.remedy for name in backbones.names())


def test_int8_is_refused_where_it_was_not_measured() -> None:
    with pytest.raises(SettingError, match="int8 is not offered for vgg16"):
        backbones.resolve("vgg16", precision="int8")


def test_no_two_descriptions_share_a_key(tmp_path: Path) -> None:
    weights = tmp_path / "own.h5"
    weights.write_bytes(b"numbers")
    choices = itertools.product(
        backbones.names(), ("imagenet", "none", str(weights)), ("multi-depth", "pooled"), ("float32", "int8")
    )
    described = set()
    for name, source, vectors, precision in choices:
        if precision == "int8" and name != "efficientnet_lite0":
            continue
        described.add(backbones.resolve(name, weights=source, vectors=vectors, precision=precision))
    keys = {backbone.key for backbone in described}
    assert len(keys) == len(described)
    assert all(re.fullmatch(r"[A-Za-z0-9_.+-]{1,200}", key) for key in keys)


def test_another_preprocessing_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = backbones.resolve("efficientnet_lite0").key
    monkeypatch.setattr(backbones, "RESIZE", "stretch-bilinear.2")
    assert backbones.resolve("efficientnet_lite0").key != before


def test_a_weights_file_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.pth").write_bytes(b"numbers")
    monkeypatch.chdir(tmp_path)
    backbone = backbones.resolve("efficientnet_lite0", weights="own.pth")
    assert backbone.digest == hashlib.sha256(b"numbers").hexdigest()
    assert backbone.weights == str(tmp_path / "own.pth")
    (tmp_path / "own.pth").write_bytes(b"other numbers")
    assert backbones.resolve("efficientnet_lite0", weights="own.pth").key != backbone.key


def test_a_missing_weights_file_is_one_clear_line() -> None:
    with pytest.raises(WeightsUnavailable, match=r"gone\.h5 cannot be read: No such file"):
        backbones.resolve("resnet50", weights="gone.h5")


def test_describing_a_backbone_loads_nothing_heavy() -> None:
    code = (
        "import sys; from labeler.embed import backbones; backbones.resolve('efficientnet_lite0');"
        "print([m for m in ('tensorflow', 'keras', 'numpy', 'PIL', 'ai_edge_litert') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
