"""Augmented views: what each change does, and that a view depends on nothing but seed, image and number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from labeler.domain import SettingError
from labeler.retrain import augment
from labeler.retrain.augment import LIMITS, Augmentation, AugmentedImages, augmented, contact_sheet
from labeler.settings import Settings

SIZE = 48
EVERYTHING = Augmentation(rotation=20, shift_x=0.2, shift_y=0.1, flip="both", shear=10, zoom=0.2, channel=20)
Pixels = NDArray[np.uint8]


def noise(n: int, size: int = SIZE) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def names(n: int) -> list[str]:
    return [f"{i:064x}" for i in range(n)]


def dot(size: int = 101, reach: int = 2) -> Pixels:
    """A white square in the middle of black, ``reach`` pixels to every side of its own middle."""
    image = np.zeros((1, size, size, 3), np.uint8)
    extent = slice(size // 2 - reach, size // 2 + reach + 1)
    image[:, extent, extent] = 255
    return image


def place(image: Pixels) -> NDArray[np.float64]:
    """(x, y) of the light's centre of mass, from the middle of the picture."""
    light = image[..., 0].astype(np.float64)
    ys, xs = np.mgrid[: len(light), : len(light)]
    middle = (len(light) - 1) / 2
    total = float(light.sum())
    return np.array([float((light * xs).sum()) / total - middle, float((light * ys).sum()) / total - middle])


def test_nothing_to_change_gives_the_pixels_themselves() -> None:
    images = noise(3)
    view = augmented(images, names(3), Augmentation(), 0, 5)
    assert np.array_equal(view, images)
    assert view is not images


def test_a_view_depends_on_seed_image_and_number_only() -> None:
    images, shas = noise(6), names(6)
    whole = augmented(images, shas, EVERYTHING, 1, 2)
    order = [4, 0, 5]
    part = augmented(images[order], [shas[i] for i in order], EVERYTHING, 1, 2)
    assert np.array_equal(part, whole[order])
    assert np.array_equal(augmented(images, shas, EVERYTHING, 1, 2, threads=3), whole)
    for other in (
        augmented(images, shas, EVERYTHING, 2, 2),
        augmented(images, shas, EVERYTHING, 1, 3),
        augmented(images, names(12)[6:], EVERYTHING, 1, 2),
    ):
        assert all(not np.array_equal(a, b) for a, b in zip(other, whole, strict=True))


def test_the_images_given_are_left_alone() -> None:
    images = noise(2)
    before = images.copy()
    augmented(images, names(2), EVERYTHING, 0, 0)
    assert np.array_equal(images, before)


@pytest.mark.parametrize("flip", ["horizontal", "vertical", "both"])
def test_flips_are_exact_and_each_happens(flip: str) -> None:
    image = noise(1)
    seen = set()
    mirrored: dict[str, Any] = {
        "none": image[0],
        "horizontal": image[0][:, ::-1],
        "vertical": image[0][::-1],
        "both": image[0][::-1, ::-1],
    }
    for view in range(40):
        found = augmented(image, ["x"], Augmentation(flip=flip), 0, view)[0]
        seen |= {name for name, wanted in mirrored.items() if np.array_equal(found, wanted)}
    assert seen == (set(mirrored) if flip == "both" else {"none", flip})


def test_the_shift_reaches_its_limit_and_no_further() -> None:
    change = Augmentation(shift_x=0.2, shift_y=0.1)
    places = np.array([place(augmented(dot(), ["x"], change, 0, view)[0]) for view in range(80)])
    greatest = np.abs(places).max(axis=0) / 101
    assert 0.17 < greatest[0] <= 0.2 + 1e-3
    assert 0.085 < greatest[1] <= 0.1 + 1e-3
    assert np.abs(places.mean(axis=0)).max() < 4  # to both sides alike


def test_all_but_the_shift_leave_the_middle_where_it_is() -> None:
    change = Augmentation(rotation=40, flip="both", shear=20, zoom=0.3)
    for view in range(20):
        assert np.abs(place(augmented(dot(), ["x"], change, 0, view)[0])).max() < 0.1


def test_rotation_is_pillows() -> None:
    image = Image.effect_noise((101, 101), 60).convert("RGB")
    for view in range(4):
        angle = 30 * augment._draws(0, "x", view)[0]
        (found,) = augmented(np.asarray(image)[None], ["x"], Augmentation(rotation=30), 0, view)
        wanted = np.asarray(image.rotate(angle, Image.Resampling.BILINEAR))
        inside = slice(20, 81)  # beyond, Pillow paints black and we repeat the edge
        difference = np.abs(found[inside, inside].astype(int) - wanted[inside, inside])
        assert np.median(difference) <= 1
        assert difference.mean() < 1


def test_zoom_changes_areas_by_the_square() -> None:
    change = Augmentation(zoom=0.5)
    square = dot(reach=20)
    areas = [augmented(square, ["x"], change, 0, view).sum() / square.sum() for view in range(60)]
    assert max(areas) == pytest.approx(1.5**2, rel=0.1)
    assert min(areas) == pytest.approx(1.5**-2, rel=0.1)


def test_beyond_the_edge_the_edge_repeats() -> None:
    white = np.full((1, SIZE, SIZE, 3), 255, np.uint8)
    change = Augmentation(rotation=45, shift_x=0.5, shift_y=0.5, shear=30, zoom=0.5)
    for view in range(10):
        assert augmented(white, ["x"], change, 0, view).min() == 255
    left_red = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    left_red[:, :, 0, 0] = 200
    shifted = [augmented(left_red, ["x"], Augmentation(shift_x=0.5), 0, view)[0] for view in range(40)]
    to_the_right = [view for view in shifted if view[:, :5, 0].min() == 200]
    assert len(to_the_right) > 5


def test_colours_move_by_whole_channels() -> None:
    grey = np.full((1, SIZE, SIZE, 3), 128, np.uint8)
    seen = []
    for view in range(30):
        found = augmented(grey, ["x"], Augmentation(channel=12), 0, view)[0]
        assert (found == found[0, 0]).all()
        seen.append(found[0, 0].astype(int) - 128)
    assert np.abs(seen).max() in (11, 12)
    assert len({tuple(change) for change in seen}) > 25
    assert augmented(np.full_like(grey, 250), ["x"], Augmentation(channel=255), 0, 0).dtype == np.uint8


def test_one_setting_does_not_change_what_another_draws() -> None:
    alone = [augment._matrix(Augmentation(rotation=30), augment._draws(0, "x", v), 100)[:, :2] for v in range(5)]
    both = [augment._matrix(Augmentation(rotation=30, shift_x=0.3), augment._draws(0, "x", v), 100) for v in range(5)]
    assert all(np.array_equal(a, b[:, :2]) for a, b in zip(alone, both, strict=True))


@settings(deadline=None, max_examples=30)
@given(
    st.builds(
        Augmentation,
        rotation=st.floats(0, LIMITS["rotation"]),
        shift_x=st.floats(0, LIMITS["shift_x"]),
        shift_y=st.floats(0, LIMITS["shift_y"]),
        flip=st.sampled_from(["none", "horizontal", "vertical", "both"]),
        shear=st.floats(0, LIMITS["shear"]),
        zoom=st.floats(0, LIMITS["zoom"]),
        channel=st.floats(0, LIMITS["channel"]),
    ),
    st.integers(0, 2**31),
)
def test_whatever_the_settings_allow_gives_a_picture(change: Augmentation, seed: int) -> None:
    images = noise(2, 16)
    view = augmented(images, names(2), change, seed, 0)
    assert view.shape == images.shape
    assert view.dtype == np.uint8


def test_settings_arrive_and_too_much_is_refused() -> None:
    table = Settings(augment_rotation=3.0, augment_shift_x=0.3, augment_flip="both", augment_channel=7.0)
    found = Augmentation.from_settings(table)
    assert (found.rotation, found.shift_x, found.flip, found.channel) == (3.0, 0.3, "both", 7.0)
    assert found.shear == table.augment_shear
    for name in LIMITS:
        with pytest.raises(SettingError, match=f"augment_{name} = 9999"):
            Augmentation.from_settings(table.replace(**{f"augment_{name}": 9999}))


def test_the_source_shows_another_view_every_epoch() -> None:
    images = noise(4)
    source = AugmentedImages(images, names(4), EVERYTHING, 3)
    rows = np.array([2, 0])
    assert len(source) == 4
    assert np.array_equal(source.plain(rows), images[rows])
    assert np.array_equal(source.train(rows, 1), augmented(images[rows], [names(4)[2], names(4)[0]], EVERYTHING, 3, 1))
    assert not np.array_equal(source.train(rows, 1), source.train(rows, 2))


def test_the_contact_sheet_shows_original_and_views() -> None:
    images = noise(2, 96)
    sheet = np.asarray(contact_sheet(images, ["a.jpg", "b" * 60 + ".jpg"], EVERYTHING, 0, 3))
    assert all(found_in(sheet, image) for image in images)
    views = [augmented(images[:1], ["a.jpg"], EVERYTHING, 0, view)[0] for view in range(3)]
    assert all(found_in(sheet, view) for view in views)
    assert not found_in(sheet, augmented(images[:1], ["a.jpg"], EVERYTHING, 0, 3)[0])


def found_in(sheet: Pixels, picture: Pixels) -> bool:
    """Whether the picture stands in the sheet, pixel for pixel."""
    height, width = picture.shape[:2]
    for y, x in np.argwhere((sheet[: -height + 1, : -width + 1] == picture[0, 0]).all(axis=2)):
        if np.array_equal(sheet[y : y + height, x : x + width], picture):
            return True
    return False
