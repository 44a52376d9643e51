from __future__ import annotations

import cv2
import numpy as np
import pytest
from layouts import label, picture

from gluon_confseg.datasets import transforms
from gluon_confseg.datasets.transforms import MEAN, MEAN_ONLY, STD, Augment, Jitter, normalize, rng
from gluon_confseg.errors import RunError

STILL = {"scale": (1.0, 1.0), "flip": False}


def sample(height=30, width=40, seed=0):
    return picture(seed, height, width), label(seed, range(19), height, width)


def coded(height, width):
    """A picture whose colours are its labels, in flat blocks, to compare the geometry of the two."""
    blocks = np.random.RandomState(0).randint(0, 19, (-(-height // 10), -(-width // 10)))
    mask = np.kron(blocks, np.ones((10, 10)))[:height, :width].astype(np.uint8)
    return np.repeat(mask[:, :, None] * 10, 3, axis=2), mask


def plain(crop, **options):
    return Augment(crop, mean=(0, 0, 0), std=(1 / 255,) * 3, **options)  # leaves the values 0..255


def test_normalize_subtracts_the_mean_and_divides_by_the_deviation():
    image = picture(0)
    expected = ((image / 255.0 - MEAN) / STD).transpose(2, 0, 1)
    assert normalize(image).dtype == np.float32
    np.testing.assert_allclose(normalize(image), expected, rtol=0, atol=2e-6)


def test_normalize_in_place_is_normalize():
    image, out = picture(0), np.empty((3, 8, 16), np.float32)
    assert normalize(image, out=out) is out
    assert np.array_equal(out, normalize(image))


def test_draws_depend_on_seed_epoch_and_sample_and_on_nothing_else():
    first = rng(1, 2, 3).random(4)
    np.random.seed(0)
    assert np.array_equal(rng(1, 2, 3).random(4), first)
    others = [
        rng(0, 2, 3),
        rng(1, 3, 3),
        rng(1, 2, 4),
        rng(2, 1, 3),
        rng(3, 2, 1),
        rng(1, 2, 3, transforms.ORDER),
    ]
    assert all(not np.any(other.random(4) == first) for other in others)


def test_the_draws_are_these_numbers_on_every_machine():
    """A resumed run must draw what the first part would have drawn: these values never change."""
    assert rng(0, 0, 0).random(3).tolist() == [0.011546754286331562, 0.24154919656271812, 0.11142585551493822]
    assert rng(5, 2, 7).random(3).tolist() == [0.6612708415508696, 0.8480103814100567, 0.16507854384024134]


@pytest.mark.parametrize("arguments", [(-1, 0, 0), (2**63, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_a_seed_that_can_not_be_used_is_an_error_that_names_it(arguments):
    with pytest.raises(RunError, match=str(next(value for value in arguments if value))):
        rng(*arguments)


def test_the_same_draws_give_the_same_bytes():
    augment = Augment((20, 24))
    for index in range(5):
        first, second = (augment(*sample(), rng(3, 1, index)) for _ in range(2))
        assert all(np.array_equal(a, b) for a, b in zip(first, second))


def test_the_sample_itself_is_left_alone():
    image, mask = sample()
    for index in range(5):
        Augment((20, 24))(image, mask, rng(0, 0, index))
    assert np.array_equal(image, sample()[0]) and np.array_equal(mask, sample()[1])


@pytest.mark.parametrize("crop", [(20, 24), (30, 40), (64, 64), (10, 64), (64, 10)])
def test_the_result_has_the_size_of_the_crop_whatever_is_drawn(crop):
    for index in range(10):
        images, masks = Augment(crop)(*sample(), rng(0, 0, index))
        assert images.shape == (3, *crop) and images.dtype == np.float32
        assert masks.shape == crop and masks.dtype == np.uint8


def test_without_crop_an_image_keeps_its_own_size():
    images, masks = Augment(None, **STILL)(*sample(), rng(0, 0, 0))
    assert np.array_equal(images, normalize(sample()[0])) and np.array_equal(masks, sample()[1])


def test_a_crop_is_a_window_of_image_and_mask_at_one_place():
    image, mask = sample()
    places = set()
    for index in range(20):
        images, masks = plain((9, 11), **STILL)(image, mask, rng(0, 0, index))
        windows = [
            (y, x) for y in range(22) for x in range(30) if np.array_equal(mask[y : y + 9, x : x + 11], masks)
        ]
        assert len(windows) == 1
        y, x = windows[0]
        np.testing.assert_allclose(images, image[y : y + 9, x : x + 11].transpose(2, 0, 1), atol=1e-4)
        places.add((y, x))
    assert len(places) > 15


def test_crops_reach_both_ends():
    mask = np.arange(6, dtype=np.uint8)[None].repeat(4, axis=0)
    image = np.repeat(mask[:, :, None], 3, axis=2)
    first = {int(plain((4, 3), **STILL)(image, mask, rng(0, 0, index))[1][0, 0]) for index in range(60)}
    assert first == {0, 1, 2, 3}


def test_flip_mirrors_image_and_mask_of_about_half_of_the_samples_and_moves_nothing_else():
    straight, flipping = plain((20, 24)), plain((20, 24))
    straight = Augment((20, 24), flip=False, mean=straight.mean, std=straight.std)
    mirrored = 0
    for index in range(40):
        images, masks = straight(*sample(), rng(0, 0, index))
        flipped_images, flipped_masks = flipping(*sample(), rng(0, 0, index))
        if np.array_equal(flipped_masks, masks):
            assert np.array_equal(flipped_images, images)
        else:
            mirrored += 1
            assert np.array_equal(flipped_masks, masks[:, ::-1]) and np.array_equal(
                flipped_images, images[:, :, ::-1]
            )
    assert 10 < mirrored < 30


def test_flip_mirrors_the_padding_too():
    augment = plain((40, 50), scale=(1.0, 1.0))
    corners = {int(augment(*sample(), rng(0, 0, index))[1][0, 0] == 255) for index in range(20)}
    assert corners == {0, 1}


def test_what_is_outside_the_image_is_the_mean_colour_and_ignored():
    images, masks = Augment((50, 60), **STILL)(*sample(), rng(0, 0, 0))
    outside = np.ones((50, 60), bool)
    outside[:30, :40] = False
    assert (masks[outside] == 255).all() and (images[:, outside] == 0).all()
    assert np.array_equal(masks[:30, :40], sample()[1]) and np.array_equal(
        images[:, :30, :40], normalize(sample()[0])
    )


@pytest.mark.parametrize("factor", [0.7, 0.85, 1.0, 1.15, 1.3])
def test_image_and_mask_are_scaled_in_the_same_geometry(factor):
    """The picture is the mask, drawn in gray: where four neighbours agree, bilinear and nearest must agree too."""
    image, mask = coded(60, 80)
    image, mask = transforms.resize(image, mask, factor)
    assert image.shape[:2] == mask.shape == (round(60 * factor), round(80 * factor))
    wrong = image[:, :, 0] != 10 * mask
    edge = np.zeros(mask.shape, bool)  # within a pixel of another label
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        edge |= np.roll(mask, step, axis) != mask
    assert not (wrong & ~edge & ~np.roll(edge, 1, 0) & ~np.roll(edge, 1, 1)).any()


@pytest.mark.parametrize("factor", [0.7, 0.9, 1.1, 1.3])
def test_each_pixel_of_a_scaled_mask_is_the_one_under_its_centre(factor):
    mask = label(0, range(19), 31, 43)
    height, width = round(31 * factor), round(43 * factor)
    rows = ((np.arange(height) + 0.5) * 31 / height).astype(int)
    columns = ((np.arange(width) + 0.5) * 43 / width).astype(int)
    scaled = transforms.resize(np.zeros((31, 43, 3), np.uint8), mask, factor)[1]
    assert np.array_equal(scaled, mask[np.ix_(rows, columns)])


def test_scaling_makes_no_new_labels():
    mask = label(0, [0, 7, 18, 255], 33, 47)
    for factor in (0.7, 0.9, 1.1, 1.3):
        assert set(np.unique(transforms.resize(np.zeros((33, 47, 3), np.uint8), mask, factor)[1])) <= {
            0,
            7,
            18,
            255,
        }


def test_scales_fill_their_range():
    sides = [
        Augment(None, flip=False)(*sample(100, 100), rng(0, 0, index))[1].shape[0] for index in range(100)
    ]
    assert 70 <= min(sides) < 75 and 125 < max(sides) <= 130
    assert 95 < np.mean(sides) < 105


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.3])
def test_a_scaled_crop_is_its_window_resized(factor):
    """A window of round(h / f) x round(w / f) pixels becomes the crop; nothing outside it is read."""
    augment = plain((10, 12), scale=(factor, factor))
    for index in range(10):
        _, top, left, flip = rng(0, 0, index).random(4)
        image, mask = sample()
        height, width = round(10 / factor), round(12 / factor)
        y, x = int(top * (30 - height + 1)), int(left * (40 - width + 1))
        inside = np.zeros(mask.shape, bool)
        inside[y : y + height, x : x + width] = True
        window = cv2.resize(image[y : y + height, x : x + width], (12, 10))
        image[~inside], mask[~inside] = 0, 77
        images, masks = augment(image, mask, rng(0, 0, index))
        window = window[:, ::-1] if flip < 0.5 else window
        np.testing.assert_allclose(images, window.transpose(2, 0, 1), atol=1e-4)
        assert not (masks == 77).any()


@pytest.mark.parametrize("factor", [0.7, 0.85, 1.2])
def test_a_scaled_crop_is_a_crop_of_the_scaled_image_but_for_a_pixel(factor):
    image, mask = (
        np.kron(part, np.ones((8, 8) + (1,) * (part.ndim - 2))).astype(np.uint8) for part in sample(12, 16)
    )
    augment = plain((30, 40), scale=(factor, factor), flip=False)
    whole = transforms.resize(image, mask, factor)[1]
    for index in range(5):
        labels = augment(image, mask, rng(0, 0, index))[1]
        shares = [
            (whole[y : y + 30, x : x + 40] == labels).mean()
            for y in range(whole.shape[0] - 29)
            for x in range(whole.shape[1] - 39)
        ]
        assert max(shares) > 0.75


def test_an_image_smaller_than_its_window_is_scaled_all_the_same():
    image, mask = sample(20, 100)
    images, masks = plain((60, 50), scale=(2.0, 2.0), flip=False)(image, mask, rng(0, 0, 0))
    assert (masks[:40] != 255).all() and (masks[40:] == 255).all() and (images[:, 40:] == 0).all()


def test_the_mean_alone_is_subtracted_on_the_scale_of_the_pixels():
    image = picture(0)
    expected = (image - 255.0 * np.array(MEAN)).transpose(2, 0, 1)
    np.testing.assert_allclose(normalize(image, std=MEAN_ONLY), expected, rtol=0, atol=1e-5)


# ---- crops in which one class is not nearly everything


def lopsided():
    """Class 1 everywhere but in a quarter, where there is noise."""
    image, mask = sample(40, 40)
    mask[:, :30] = 1
    return image, mask


def test_a_crop_with_enough_classes_is_chosen_where_there_is_one():
    free, choosing = plain((10, 10), **STILL), plain((10, 10), max_share=0.75, **STILL)
    shares = [
        [transforms.largest_share(augment(*lopsided(), rng(0, 0, index))[1]) for index in range(60)]
        for augment in (free, choosing)
    ]
    assert np.mean(np.array(shares[0]) > 0.75) > 0.5
    assert np.mean(np.array(shares[1]) > 0.75) < 0.1
    for index in range(60):  # a first place that is good enough is kept
        if shares[0][index] <= 0.75:
            same = [augment(*lopsided(), rng(0, 0, index)) for augment in (free, choosing)]
            assert np.array_equal(same[0][0], same[1][0])


def test_where_no_crop_has_enough_classes_the_best_is_taken():
    image, mask = sample(40, 40)
    mask[:] = 255
    mask[:5, :5] = 3
    assert plain((10, 10), max_share=0.5)(image, mask, rng(0, 0, 0))[1].shape == (10, 10)


def test_ignored_pixels_do_not_count_in_a_share():
    mask = np.full((4, 4), 255, np.uint8)
    assert transforms.largest_share(mask) == 1
    mask[0] = 2
    mask[1, :2] = 5
    assert transforms.largest_share(mask) == pytest.approx(4 / 6)


# ---- colours


def test_colours_are_varied_and_geometry_and_labels_are_not():
    still, varied = plain((20, 24)), plain((20, 24), jitter=Jitter())
    for index in range(5):
        first, second = (augment(*sample(), rng(0, 0, index)) for augment in (still, varied))
        assert np.array_equal(first[1], second[1]) and not np.array_equal(first[0], second[0])


def test_colours_vary_by_no_more_than_the_limits():
    gray = np.full((4, 4, 3), 100, np.uint8)
    bright = Jitter(brightness=0.1, contrast=0, saturation=0, hue=0)
    assert np.array_equal(bright(gray, (1, 1, 1, 1))[0, 0], [126] * 3)
    assert np.array_equal(bright(gray, (0, 0, 0, 0))[0, 0], [74] * 3)
    assert np.array_equal(bright(gray, (0.5, 0, 0, 0)), gray)
    assert np.array_equal(Jitter(0, 0.5, 0, 0)(gray, (0, 1, 0, 0))[0, 0], [150] * 3)
    assert np.array_equal(
        Jitter(0, 0, 0.5, 0.5)(gray, (1, 1, 1, 1)), gray
    )  # gray has neither hue nor saturation
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    assert np.array_equal(
        Jitter(0, 0, 0, 1 / 1.5)(red, (0, 0, 0, 1))[0, 0], [0, 200, 0]
    )  # a third of a circle
    assert np.array_equal(Jitter(0, 0, 1, 0)(red, (0, 0, 0, 0))[0, 0], [200] * 3)


def test_no_limits_change_nothing():
    assert np.array_equal(Jitter(0, 0, 0, 0)(picture(0), (0.1, 0.9, 0.3, 0.8)), picture(0))


@pytest.mark.parametrize(
    "settings", [{"crop": (0, 5)}, {"scale": (0, 1)}, {"scale": (2, 1)}, {"max_share": 0}]
)
def test_settings_that_can_not_be_used_are_said_at_once(settings):
    with pytest.raises(RunError):
        Augment(**{"crop": (4, 4), **settings})
