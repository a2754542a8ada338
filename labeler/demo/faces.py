"""One picture of one made-up person, from the background to the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeler.demo import (
    backgrounds,
    beards,
    body,
    camera,
    dangling,
    features,
    glasses,
    hair,
    headwear,
    masks,
    occluders,
    people,
)
from labeler.demo.canvas import Canvas
from labeler.demo.geometry import Head

_SUPERSAMPLING = 2
_SHADE_CELLS = 56  # a shading field needs no more: it only holds what is smooth


@dataclass(frozen=True, slots=True)
class Light:
    """Where the lamp stands (unit vector, z towards the camera), how deep its shadows are, and their tint."""

    direction: tuple[float, float, float]
    depth: float
    tint: tuple[float, float, float]


def draw_face(seed: int, *, masked: bool, size: int = 224) -> Image.Image:
    """A portrait of the person number ``seed``, RGB, ``size`` x ``size`` pixels.

    The same seed gives the same person, place and camera with and without the mask, so nothing but what lies before
    the face tells the classes apart. The same arguments give the same pixels for one version of Pillow and numpy.
    """
    canvas, _ = _paint(seed, masked, _SUPERSAMPLING * size)
    return camera.develop(canvas.image, size, np.random.default_rng([seed, 4]))


def _paint(seed: int, masked: bool, size: int) -> tuple[Canvas, Head]:
    person = people.sample(np.random.default_rng([seed, 0]))
    stage, props = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
    canvas = Canvas(backgrounds.paint_background(stage, size))
    head, light = _pose(stage, person, size), _light(stage)
    covered = person.headwear in headwear.COVERS_HAIR
    headwear.paint_behind(canvas, head, person)
    if not covered:
        hair.paint_back(canvas, head, person, props)
    body.paint_body(canvas, head, person, props)
    if not covered:
        features.paint_ears(canvas, head, person)
    side = light.direction[0]
    features.paint_skin(canvas, head, person, side)
    beard = beards.paint_beard(canvas, head, person, props)
    features.paint_age(canvas, head, person)
    features.paint_eyes(canvas, head, person, side)
    features.paint_nose(canvas, head, person, side)
    features.paint_mouth(canvas, head, person)
    beards.paint_moustache(canvas, head, person)
    cover = _cover(np.random.default_rng([seed, 3]), masked)
    hand = np.random.default_rng([seed, 5])
    lit = [head.rim(person.outline(0.02)), *beard]
    mask = masks.sample(hand, person)
    if masked:
        lit.append(masks.paint_worn(canvas, head, person, mask, hand))
    elif cover in dangling.PLACES:
        dangling.paint_dangling(canvas, head, person, mask, cover, hand)
    with canvas.inside(*lit) as lamp_lit:
        lamp_lit.multiply(_shading(head, light, size))
        features.paint_rim_light(lamp_lit, head, person, side)
    glasses.paint_glasses(canvas, head, person)
    if not covered:
        hair.paint_front(canvas, head, person, props, under_hat=person.headwear in headwear.FLATTENS_HAIR)
    headwear.paint_headwear(canvas, head, person, props)
    if cover in occluders.OCCLUDERS:
        occluders.paint_occluder(canvas, head, person, cover, hand)
    return canvas, head


def _cover(rng: np.random.Generator, masked: bool) -> str:
    """What else lies before the face, by name; ``none`` for most masked ones, rarer for bare ones."""
    return people.choose(rng, _OVER_MASK if masked else _OVER_FACE)


_OVER_MASK = {
    "none": 24.0,
    "hand over mouth": 0.2,
    "giggle": 0.3,
    "thinking": 0.7,
    "phone": 0.2,
    "cup": 0.1,
    "microphone": 0.4,
    "book": 0.1,
    "scarf": 1.2,
    "flowers": 0.2,
    "visor": 0.4,
}
_OVER_FACE = {
    "none": 15.0,
    **dict.fromkeys(dangling.PLACES, 0.3),
    "chin": 0.7,
    **dict.fromkeys(occluders.OCCLUDERS, 0.45),
}


def _pose(rng: np.random.Generator, person: people.Person, size: int) -> Head:
    unit = size * float(rng.uniform(0.25, 0.32))
    return Head(
        unit=unit,
        x=size * float(rng.normal(0.5, 0.04)),
        y=size * float(rng.normal(0.44, 0.03)),
        yaw=float(np.clip(rng.normal(0, 0.16), -0.5, 0.5)),
        pitch=float(np.clip(rng.normal(0.02, 0.12), -0.28, 0.28)),
        roll=float(np.clip(rng.normal(0, 0.11), -0.35, 0.35)),
        width=person.width,
    )


def _light(rng: np.random.Generator) -> Light:
    angle = float(rng.normal(0, 0.8))
    direction = np.array([np.sin(angle), -float(rng.uniform(0.2, 0.8)), 0.6 + 0.6 * abs(np.cos(angle))])
    x, y, z = (float(part) for part in direction / np.linalg.norm(direction))
    cool, warm = (0.46, 0.44, 0.62), (0.62, 0.46, 0.42)
    blend = float(rng.uniform())
    tint = (
        cool[0] + (warm[0] - cool[0]) * blend,
        cool[1] + (warm[1] - cool[1]) * blend,
        cool[2] + (warm[2] - cool[2]) * blend,
    )
    return Light((x, y, z), float(rng.uniform(0.25, 0.8)), tint)


def _shading(head: Head, light: Light, size: int) -> NDArray[np.float32]:
    """How much light each part of the picture would get if it lay on the head's ellipsoid: (56, 56, 3) in [0, 1]."""
    step = size / _SHADE_CELLS
    y, x = (np.mgrid[0:_SHADE_CELLS, 0:_SHADE_CELLS].astype(np.float32) + 0.5) * step
    u, v = (x - head.x) / head.unit, (y - head.y) / head.unit - 1.1
    c, s = np.cos(head.roll), np.sin(head.roll)
    across, down = (u * c + v * s) / 1.0, (-u * s + v * c + 1.1 - 0.05) / 1.38
    flat = np.minimum(across**2 + down**2, 1.0)
    normal = np.stack([across, down, np.sqrt(1.08 - flat)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    amount = np.clip(normal @ np.array(light.direction, np.float32), 0, 1)
    share = light.depth * (1.0 - np.clip(amount * 1.45, 0, 1) ** 0.8)[..., None]
    field: NDArray[np.float32] = (1.0 - share + share * np.array(light.tint, np.float32)).astype(np.float32)
    return field
