"""A worn mask covers mouth and nose; nothing else that is drawn may be mistaken for one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from labeler.demo import dangling, masks, occluders, patterns, people
from labeler.demo.canvas import Canvas
from labeler.demo.geometry import Head, Points, ellipse

SIZE = 224
GREY = (90, 90, 90)
KINDS = ("surgical", "fold", "cup", "cloth", "window", "gaiter", "bandana")


def person_of(seed: int) -> people.Person:
    return people.sample(np.random.default_rng([seed, 0]))


def head_of(person: people.Person, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Head:
    return Head(unit=60.0, x=112.0, y=95.0, yaw=yaw, pitch=pitch, roll=roll, width=person.width)


def sheet() -> Canvas:
    return Canvas(Image.new("RGB", (SIZE, SIZE), GREY))


def changed(canvas: Canvas) -> NDArray[np.bool_]:
    return np.asarray((np.asarray(canvas.image) != GREY).any(axis=2))


def region(canvas: Canvas, *shapes: Points) -> NDArray[np.bool_]:
    stencil = canvas.pad.stencil((SIZE, SIZE), [(shape, 255) for shape in shapes])
    inside: NDArray[np.bool_] = np.asarray(stencil) > 0
    return inside


def mouth_and_nose(canvas: Canvas, head: Head, person: people.Person) -> NDArray[np.bool_]:
    mouth = head.at(ellipse(0, person.mouth_y, 0.18, 0.06))
    nose = head.at(ellipse(0, person.nose_length + 0.04, 0.12, 0.05))
    return region(canvas, mouth) | region(canvas, nose)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.sampled_from(KINDS), st.floats(-0.5, 0.5), st.floats(-0.28, 0.28), st.floats(-0.35, 0.35)
)
def test_a_worn_mask_covers_mouth_and_nose_of_everybody(
    seed: int, kind: str, yaw: float, pitch: float, roll: float
) -> None:
    person = person_of(seed)
    head, canvas, rng = head_of(person, yaw, pitch, roll), sheet(), np.random.default_rng(seed)
    mask = replace(masks.sample(rng, person), kind=kind)
    outline = masks.paint_worn(canvas, head, person, mask, rng)
    covered = region(canvas, outline)
    assert covered[mouth_and_nose(canvas, head, person)].all()
    eyes = region(canvas, *(head.at(ellipse(side * person.eye_gap, -0.02, 0.1, 0.06)) for side in (-1, 1)))
    assert not covered[eyes].any(), "the eyes stay free"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(dangling.PLACES), st.floats(-0.5, 0.5))
def test_a_dangling_mask_leaves_the_mouth_alone(seed: int, where: str, yaw: float) -> None:
    person = person_of(seed)
    head, canvas, rng = head_of(person, yaw), sheet(), np.random.default_rng(seed)
    dangling.paint_dangling(canvas, head, person, masks.sample(rng, person), where, rng)
    touched = changed(canvas)
    assert touched.sum() > 400, "it is there"
    assert not touched[region(canvas, head.at(ellipse(0, person.mouth_y, 0.18, 0.05)))].any()


@pytest.mark.parametrize("name", sorted(occluders.OCCLUDERS))
def test_every_occluder_is_painted_and_the_eyes_stay_visible(name: str) -> None:
    for seed in range(6):
        person = person_of(seed)
        head, canvas = head_of(person, 0.1), sheet()
        occluders.paint_occluder(canvas, head, person, name, np.random.default_rng(seed))
        touched = changed(canvas)
        assert touched.sum() > 900
        if name != "visor":
            pupils = region(canvas, *(head.at(ellipse(side * person.eye_gap, -0.05, 0.05, 0.05)) for side in (-1, 1)))
            assert not touched[pupils].any()


@pytest.mark.parametrize("name", [*patterns.PATTERNS, *patterns.PRINTS])
def test_every_pattern_shows(name: str) -> None:
    person = person_of(1)
    plain = masks.Mask("cloth", (200, 200, 200), (20, 40, 160), "plain", False, "ears")
    pictures = []
    for mask in (plain, replace(plain, pattern=name)):
        canvas = sheet()
        masks.paint_worn(canvas, head_of(person), person, mask, np.random.default_rng(5))
        pictures.append(np.asarray(canvas.image, int))
    differing = (np.abs(pictures[0] - pictures[1]).max(axis=2) > 20).sum()
    assert (differing > 150) == (name != "plain")


def test_masks_come_in_every_kind_and_some_pass_for_skin() -> None:
    crowd = [(person_of(seed), seed) for seed in range(400)]
    drawn = [(masks.sample(np.random.default_rng([seed, 5]), person), person) for person, seed in crowd]
    assert {mask.kind for mask, _ in drawn} == set(KINDS)
    assert any(mask.valve for mask, _ in drawn)
    like_skin = [np.abs(np.subtract(mask.colour, person.skin)).max() < 25 for mask, person in drawn]
    assert 0 < sum(like_skin) < 60
    assert {mask.straps for mask, _ in drawn} == {"ears", "head", "none"}
