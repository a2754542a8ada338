"""The crowd is varied, whole, and knows nothing of masks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from labeler.demo import backgrounds, beards, body, camera, features, glasses, hair, headwear, people
from labeler.demo.canvas import Canvas
from labeler.demo.geometry import Head

CROWD = [people.sample(np.random.default_rng([seed, 0])) for seed in range(900)]


def test_skin_covers_the_human_range_without_gaps() -> None:
    brightness = np.sort([sum(person.skin) / 3 for person in CROWD])
    assert brightness[0] < 75
    assert brightness[-1] > 215
    assert np.diff(brightness).max() < 10
    assert 0.25 < np.mean(brightness < 140) < 0.75, "neither light nor dark skin is the exception"


@pytest.mark.parametrize(
    ("trait", "least"),
    [("hair", 18), ("headwear", 12), ("glasses", 7), ("clothes", 11), ("mouth", 7), ("beard", 6)],
)
def test_every_trait_has_all_its_values(trait: str, least: int) -> None:
    assert len(Counter(getattr(person, trait) for person in CROWD)) == least


def test_children_have_no_beards_and_all_ages_are_there() -> None:
    assert {person.beard for person in CROWD if person.age < 0.14} == {"none"}
    ages = [person.age for person in CROWD]
    assert min(ages) < 0.1
    assert max(ages) > 0.85


def some_head(person: people.Person) -> Head:
    return Head(unit=50.0, x=100.0, y=90.0, yaw=0.2, pitch=0.05, roll=0.1, width=person.width)


def ink(paint: object, person: people.Person) -> int:
    """How many pixels of a grey sheet a painter changes."""
    assert callable(paint)
    canvas = Canvas(Image.new("RGB", (200, 200), (90, 90, 90)))
    paint(canvas, some_head(person), person)
    return int((np.asarray(canvas.image) != 90).any(axis=2).sum())


def with_trait(trait: str, value: str) -> people.Person:
    return next(person for person in CROWD if getattr(person, trait) == value)


def values(trait: str) -> list[str]:
    return sorted({getattr(person, trait) for person in CROWD})


@pytest.mark.parametrize("style", values("hair"))
def test_every_head_of_hair_is_painted(style: str) -> None:
    def paint(canvas: Canvas, head: Head, person: people.Person) -> None:
        rng = np.random.default_rng(0)
        hair.paint_back(canvas, head, person, rng)
        hair.paint_front(canvas, head, person, rng)

    painted = ink(paint, with_trait("hair", style))
    assert painted > (2500 if style not in ("bald", "mohawk") else 150)


@pytest.mark.parametrize("kind", values("headwear"))
def test_every_hat_is_painted(kind: str) -> None:
    def paint(canvas: Canvas, head: Head, person: people.Person) -> None:
        headwear.paint_behind(canvas, head, person)
        headwear.paint_headwear(canvas, head, person, np.random.default_rng(0))

    assert (ink(paint, with_trait("headwear", kind)) > 700) == (kind != "none")


@pytest.mark.parametrize("kind", values("clothes"))
def test_everybody_is_dressed(kind: str) -> None:
    def paint(canvas: Canvas, head: Head, person: people.Person) -> None:
        body.paint_body(canvas, head, person, np.random.default_rng(0))

    assert ink(paint, with_trait("clothes", kind)) > 3000


@pytest.mark.parametrize("kind", values("beard"))
def test_every_beard_is_painted(kind: str) -> None:
    def paint(canvas: Canvas, head: Head, person: people.Person) -> None:
        beards.paint_beard(canvas, head, person, np.random.default_rng(0))
        beards.paint_moustache(canvas, head, person)

    assert (ink(paint, with_trait("beard", kind)) > 200) == (kind != "none")


@pytest.mark.parametrize("kind", values("glasses"))
def test_every_pair_of_glasses_is_painted(kind: str) -> None:
    assert (ink(glasses.paint_glasses, with_trait("glasses", kind)) > 400) == (kind != "none")


@pytest.mark.parametrize("kind", values("mouth"))
def test_every_expression_is_painted(kind: str) -> None:
    assert ink(features.paint_mouth, with_trait("mouth", kind)) > 120


def test_backgrounds_fill_the_picture_and_differ() -> None:
    pictures = [backgrounds.paint_background(np.random.default_rng(seed), 64) for seed in range(30)]
    assert {picture.size for picture in pictures} == {(64, 64)}
    assert len({picture.tobytes() for picture in pictures}) == 30


def test_the_camera_changes_the_picture_but_not_its_shape() -> None:
    painting = backgrounds.paint_background(np.random.default_rng(3), 128)
    photos = [camera.develop(painting, 64, np.random.default_rng(seed)) for seed in range(40)]
    assert {(photo.size, photo.mode) for photo in photos} == {((64, 64), "RGB")}
    assert len({photo.tobytes() for photo in photos}) == 40
    grey = [photo for photo in photos if np.ptp(np.asarray(photo, int), axis=2).max() == 0]
    assert len(grey) < 10, "black and white stays the exception"
