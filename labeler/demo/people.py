"""Who is in the picture: every trait of a made-up person, drawn from one random stream.

Nothing here depends on the mask, so the same seed is the same person with and without one, and no trait can give
the class away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from labeler.demo.canvas import Colour, lighter, mix
from labeler.demo.geometry import Points, both_sides, smooth

T = TypeVar("T")

# From the lightest to the deepest human skin; a tone is taken anywhere between two neighbours.
_SKIN: tuple[Colour, ...] = (
    (252, 226, 208),
    (246, 210, 186),
    (238, 192, 160),
    (226, 172, 136),
    (208, 150, 112),
    (184, 126, 88),
    (154, 101, 70),
    (124, 79, 56),
    (100, 64, 47),
    (80, 52, 41),
)
_HAIR: Mapping[str, tuple[Colour, float]] = {
    "black": ((38, 32, 36), 6),
    "dark brown": ((66, 45, 36), 5),
    "brown": ((104, 70, 46), 4),
    "auburn": ((132, 62, 38), 2),
    "ginger": ((196, 98, 44), 1.5),
    "dark blond": ((168, 126, 78), 2),
    "blond": ((222, 184, 116), 2.5),
    "platinum": ((238, 224, 194), 0.8),
    "pink": ((226, 120, 160), 0.6),
    "teal": ((60, 150, 152), 0.6),
    "violet": ((122, 84, 160), 0.5),
}
_GREY: tuple[Colour, ...] = ((128, 126, 128), (176, 174, 174), (222, 220, 216))
_EYES: tuple[Colour, ...] = ((58, 36, 26), (74, 46, 30), (104, 68, 38), (128, 108, 56), (86, 118, 84), (92, 138, 172))

# One palette for clothes, hats, masks and rooms holds the pictures together as a set.
PALETTE: tuple[Colour, ...] = (
    (226, 98, 76),
    (240, 168, 62),
    (246, 208, 112),
    (92, 148, 122),
    (44, 96, 112),
    (38, 52, 80),
    (122, 84, 140),
    (214, 130, 152),
    (238, 228, 210),
    (88, 126, 196),
    (156, 58, 70),
    (58, 58, 66),
    (148, 156, 92),
    (248, 246, 240),
    (126, 192, 194),
    (246, 200, 178),
    (112, 88, 72),
    (178, 198, 222),
)

LONG_HAIR = ("long straight", "long wavy", "bob", "curly long", "braids")
SHORT_HAIR = ("side part", "quiff", "crop", "curly short", "fringe", "pixie")
_HATS = (
    "beanie",
    "cap",
    "bucket",
    "straw hat",
    "hijab",
    "turban",
    "bandana",
    "headphones",
    "hood",
    "headband",
    "helmet",
)
_CLOTHES = ("tee", "stripes", "vee", "shirt", "suit", "hoodie", "polo neck", "scrubs", "dungarees", "puffer", "straps")


def choose(rng: np.random.Generator, weights: Mapping[T, float]) -> T:
    """One key, with probability in proportion to its weight."""
    keys = list(weights)
    share = np.asarray(list(weights.values()), np.float64)
    return keys[int(rng.choice(len(keys), p=share / share.sum()))]


def palette(rng: np.random.Generator) -> Colour:
    """A colour of the set, a little off so that no two shirts are quite the same."""
    base = PALETTE[int(rng.integers(len(PALETTE)))]
    r, g, b = (int(np.clip(part + rng.normal(0, 9), 8, 252)) for part in base)
    return (r, g, b)


@dataclass(frozen=True, slots=True)
class Person:
    """Traits in [0, 1] unless said otherwise.

    Attributes:
        age: 0 a child, 0.3 a young adult, 1 very old.
        style: 0 to 1, how far hair, lashes and lips are dressed up; it only tips odds.
        width, jaw, chin, chin_width: the outline, face units (see :meth:`outline`).
        smile: -1 sad to 1 happy. mouth: closed, open, laugh, ooh, tongue, pout or smirk.
        lids: how far (left, right) eyes are open, 0 closed to 1.2 wide. gaze: (x, y) in iris radii.
        beard: none, stubble, moustache, goatee, full or huge.
    """

    skin: Colour
    lips: Colour
    age: float
    style: float
    width: float
    jaw: float
    chin: float
    chin_width: float
    ear: float
    eye_colour: Colour
    eye_size: float
    eye_gap: float
    eye_tilt: float
    crease: bool
    lids: tuple[float, float]
    gaze: tuple[float, float]
    brow: float
    brow_lift: float
    brow_slant: float
    nose_width: float
    nose_length: float
    nose_bridge: float
    mouth: str
    mouth_width: float
    lip_fullness: float
    smile: float
    freckles: float
    makeup: bool
    hair: str
    hair_colour: Colour
    beard: str
    headwear: str
    headwear_colour: Colour
    glasses: str
    earrings: bool
    clothes: str
    clothes_colour: Colour
    second_colour: Colour

    def outline(self, grow: float = 0.0) -> Points:
        """The head's outline in face units, ``grow`` larger all round; for :meth:`Head.rim`."""
        w, j = self.width + grow, self.jaw
        half = [
            (0.0, -1.22 - grow),
            (0.54 * w, -1.12 - grow),
            (0.92 * w, -0.70),
            (1.0 * w, -0.12),
            (0.97 * w, 0.36),
            (j * w, 0.80),
            (0.64 * j * w, self.chin - 0.15 + 0.6 * grow),
            (self.chin_width, self.chin - 0.02 + grow),
            (0.0, self.chin + grow),
        ]
        return smooth(both_sides(half), steps=6)

    @property
    def mouth_y(self) -> float:
        """Where the lips meet, face units."""
        return 0.47 + self.nose_length * 0.1 + (self.chin - 0.5) * 0.38


def sample(rng: np.random.Generator) -> Person:
    """A person; the same stream gives the same person."""
    tone = float((len(_SKIN) - 1.001) * rng.beta(1.05, 1.3))
    skin = mix(_SKIN[int(tone)], _SKIN[int(tone) + 1], tone % 1)
    r, g, b = (int(np.clip(part + rng.normal(0, 3.5), 20, 255)) for part in skin)
    skin = (r, g, b)
    age = float(np.clip(rng.beta(1.7, 2.2), 0.0, 1.0))
    child, style = age < 0.14, float(rng.uniform())
    headwear = choose(rng, {"none": 26.0, **dict.fromkeys(_HATS, 1.25), "hijab": 2.5}) if not child else "none"
    if child and rng.uniform() < 0.3:
        headwear = choose(rng, {"beanie": 2, "cap": 2, "headband": 1, "bucket": 1})
    dressed_up = style > 0.5
    natural = choose(rng, dict(_HAIR.values()))
    if tone > 5.5 and rng.uniform() < 0.8:
        natural = choose(rng, {(34, 28, 30): 3, (52, 38, 34): 2, (84, 54, 40): 0.6})
    if age > 0.62 and rng.uniform() < (age - 0.4) * 1.7:
        natural = mix(natural, _GREY[int(rng.integers(3))], float(rng.uniform(0.7, 1.0)))
    mouth = choose(rng, {"closed": 5, "open": 1.6, "laugh": 2.2, "ooh": 0.9, "tongue": 0.4, "pout": 0.7, "smirk": 1.2})
    lips = mix(skin, (176, 62, 70) if tone < 6 else (128, 50, 56), float(rng.uniform(0.28, 0.5)))
    makeup = bool(dressed_up and not child and rng.uniform() < 0.45)
    if makeup:
        lipstick = ((190, 40, 60), (206, 84, 92), (150, 40, 62), (222, 110, 120), (120, 36, 60))
        lips = mix(lips, lipstick[int(rng.integers(5))], 0.75)
    wide_lids = float(np.clip(rng.normal(0.92, 0.14), 0.45, 1.2)) - 0.12 * max(0.0, age - 0.6)
    lids = (wide_lids, wide_lids)
    wink = rng.uniform()
    if wink < 0.07:
        lids = (0.0, 0.0)
    elif wink < 0.11:
        lids = (0.0, wide_lids) if wink < 0.09 else (wide_lids, 0.0)
    return Person(
        skin=skin,
        lips=lips,
        age=age,
        style=style,
        width=float(rng.uniform(0.88, 1.0)) + 0.04 * child,
        jaw=float(np.clip(rng.normal(0.82 - 0.07 * style, 0.05), 0.7, 0.95)),
        chin=float(rng.uniform(1.22, 1.4)) - 0.1 * child,
        chin_width=float(rng.uniform(0.16, 0.32) - 0.06 * style),
        ear=float(rng.uniform(0.85, 1.15)),
        eye_colour=_EYES[int(rng.integers(3 if tone > 5 else 6))],
        eye_size=float(rng.uniform(0.92, 1.12)) + 0.16 * child + 0.05 * dressed_up,
        eye_gap=float(rng.uniform(0.38, 0.44)),
        eye_tilt=float(rng.normal(0.012, 0.03)),
        crease=bool(rng.uniform() < 0.75),
        lids=lids,
        gaze=(float(np.clip(rng.normal(0, 0.45), -0.9, 0.9)), float(np.clip(rng.normal(0, 0.25), -0.5, 0.5))),
        brow=float(np.clip(rng.normal(0.085 - 0.03 * style, 0.018), 0.035, 0.13)) - 0.015 * child,
        brow_lift=float(rng.normal(0.0, 0.04)) + (0.06 if mouth == "ooh" else 0.0),
        brow_slant=float(rng.normal(0.0, 0.09)),
        nose_width=float(rng.uniform(0.15, 0.24)) - 0.03 * child,
        nose_length=float(rng.uniform(0.46, 0.58)) - 0.08 * child,
        nose_bridge=float(rng.uniform(0.05, 0.1)),
        mouth=mouth,
        mouth_width=float(rng.uniform(0.25, 0.34)),
        lip_fullness=float(rng.uniform(0.06, 0.12)) + 0.02 * dressed_up,
        smile=float(np.clip(rng.normal(0.4, 0.45), -0.8, 1.0)),
        freckles=float(max(0.0, rng.uniform(-1.5, 1.0))) if tone < 4.5 else 0.0,
        makeup=makeup,
        hair=_hair(rng, age, style),
        hair_colour=natural,
        beard=_beard(rng, age, style),
        headwear=headwear,
        headwear_colour=palette(rng),
        glasses=choose(
            rng, {"none": 5.5, "round": 1.1, "square": 1.1, "half rim": 0.6, "cat": 0.5, "sun": 1.1, "aviator": 0.5}
        ),
        earrings=bool(dressed_up and rng.uniform() < 0.5),
        clothes=_CLOTHES[int(rng.integers(len(_CLOTHES)))],
        clothes_colour=palette(rng),
        second_colour=palette(rng),
    )


def _hair(rng: np.random.Generator, age: float, style: float) -> str:
    weights: dict[str, float] = {"afro": 1.0, "bun": 0.4 + 1.6 * style, "ponytail": 0.3 + 1.5 * style, "mohawk": 0.25}
    weights |= dict.fromkeys(LONG_HAIR, 0.15 + 2.0 * style)
    weights |= dict.fromkeys(SHORT_HAIR, 0.35 + 1.6 * (1 - style))
    if age > 0.25:
        weights |= {"bald": 1.2 * (1 - style), "buzz": 1.6 * (1 - style), "receding": 3.5 * age * (1 - style)}
    return choose(rng, weights)


def _beard(rng: np.random.Generator, age: float, style: float) -> str:
    if age < 0.2 or style > 0.5:
        return "none"
    return choose(rng, {"none": 4, "stubble": 2, "moustache": 1.3, "goatee": 1, "full": 2, "huge": 1.2})


def ruddy(skin: Colour) -> Colour:
    """The colour of blood under this skin: cheeks, ears, the tip of a nose."""
    return mix(skin, (206, 70, 60), 0.3)


def lit(skin: Colour) -> Colour:
    """Skin where the light falls."""
    return lighter(skin, 0.3)
