# SPDX-License-Identifier: Apache-2.0
"""Images and instructions on their way to a backbone."""

import warnings

import numpy as np
import pytest
from models.golden import torch

from gr00t_policy_core import SpecError
from gr00t_policy_core.models.common.image_processing import (
    AreaCrop,
    BicubicCrop,
    BilinearCrop,
    center_crop,
    image_pipeline,
)
from gr00t_policy_core.models.common.prompts import formalize, pad
from gr00t_policy_core.models.gr00t_n1d6.vision import whole_tokens
from gr00t_policy_core.models.gr00t_n1d7.vision import PatchConfig, rope_positions, smart_size


def white(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 255, dtype=np.uint8)


def test_a_centre_crop_rounds_halves_to_even_and_fills_up_with_black():
    image = torch.arange(25).reshape(1, 5, 5)
    assert center_crop(image, (2, 2))[0].tolist() == [[12, 13], [17, 18]]  # from 1.5, so 2
    assert center_crop(image, (4, 4))[0, 0].tolist() == [0, 1, 2, 3]  # from 0.5, so 0
    larger = center_crop(image + 1, (8, 5))[0]
    assert larger.shape == (8, 5)
    assert (larger == 0).all(dim=1).tolist() == [True] * 1 + [False] * 5 + [True] * 2


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (200, 200), (7, 300)])
def test_pipelines_give_their_size_from_any_other(shape):
    pytest.importorskip("cv2", reason="one of the pipelines needs OpenCV")
    for pipeline in (
        AreaCrop(96, 0.95, letter_box=True),
        BilinearCrop((96, 96), (90, 90), letter_box=True),
        BilinearCrop((96, 96), (90, 90), letter_box=False),
        BicubicCrop(100, 0.9, (96, 96), letter_box=False),
    ):
        assert pipeline.size(*shape) == (96, 96)
        assert pipeline(white(*shape)).shape == (96, 96, 3)
        assert pipeline(white(*shape)).dtype == np.uint8


def test_frames_as_they_come_over_the_wire_are_taken_without_a_warning():
    frame = white(32, 32)
    frame.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert BilinearCrop((16, 16), (14, 14), letter_box=True)(frame).shape == (16, 16, 3)


def test_an_image_of_one_colour_stays_so():
    pytest.importorskip("cv2", reason="one of the pipelines needs OpenCV")
    for pipeline in (
        AreaCrop(32, 0.9, letter_box=True),
        BilinearCrop((32, 32), (30, 30), letter_box=True),
    ):
        assert (pipeline(white(77, 77)) == 255).all()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"use_albumentations": True}, AreaCrop(512, 0.95, letter_box=False)),
        (
            {"use_albumentations": True, "letter_box_transform": None},
            AreaCrop(512, 0.95, letter_box=False),
        ),
        (
            {"use_albumentations": True, "letter_box_transform": True},
            AreaCrop(512, 0.95, letter_box=True),
        ),
        (
            {"use_albumentations": True, "shortest_image_edge": 256},
            AreaCrop(256, 0.95, letter_box=False),
        ),
        (
            {
                "use_albumentations": True,
                "shortest_image_edge": None,
                "crop_fraction": None,
                "image_target_size": [100, 100],
                "image_crop_size": [90, 90],
            },
            AreaCrop(100, 0.9, letter_box=False),
        ),
        (
            {"image_target_size": [100, 90], "image_crop_size": [80, 70]},
            BilinearCrop((100, 90), (80, 70), letter_box=False),
        ),
    ],
)
def test_the_processors_configuration_chooses_the_pipeline(fields, expected):
    assert image_pipeline(fields, 512) == expected


@pytest.mark.parametrize("fields", [{}, {"use_albumentations": True, "shortest_image_edge": None}])
def test_missing_image_sizes_are_named(fields):
    with pytest.raises(SpecError, match="image"):
        image_pipeline(fields, 512)


def test_instructions_lose_capitals_and_punctuation():
    assert formalize("Pick up the Apple, don't drop it!") == "pick up the apple dont drop it"


def test_rows_of_different_length_are_filled_up_on_the_left():
    prompts = pad([[5, 9, 9, 6], [5, 9]], pad_id=0, image_id=9)
    assert prompts.ids.tolist() == [[5, 9, 9, 6], [0, 0, 5, 9]]
    assert prompts.mask.tolist() == [[True] * 4, [False, False, True, True]]
    assert prompts.image_mask.tolist() == [[False, True, True, False], [False, False, False, True]]


def test_a_batch_is_filled_up_to_a_round_length_on_the_right():
    prompts = pad([[5, 9, 6], [5, 9]], pad_id=0, image_id=9, multiple=4)
    assert prompts.ids.tolist() == [[5, 9, 6, 0], [0, 5, 9, 0]]
    assert prompts.mask.tolist() == [[True] * 3 + [False], [False, True, True, False]]
    assert prompts.length == 3


def test_padding_that_is_called_like_an_image_is_none():
    assert not pad([[1, 2], [1]], pad_id=9, image_id=9).image_mask.any()


def test_rope_counts_text_on_and_gives_an_image_rows_and_columns():
    """Left padding, a word, an image of 2 by 3 tokens, a word: as Qwen2-VL's paper draws it."""
    images = np.array([[0, 0, 1, 1, 1, 1, 1, 1, 0]], dtype=bool)
    mask = np.array([[0, 1, 1, 1, 1, 1, 1, 1, 1]], dtype=bool)
    positions = rope_positions(images, mask, rows=2, columns=3)
    assert positions[:, 0].tolist() == [
        [1, 0, 1, 1, 1, 1, 1, 1, 4],
        [1, 0, 1, 1, 1, 2, 2, 2, 4],
        [1, 0, 1, 2, 3, 1, 2, 3, 4],
    ]


PATCHES = PatchConfig(16, 2, 2, 65536, 16777216, (0.5,) * 3, (0.5,) * 3, 1 / 255)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((256, 256), (256, 256)),
        ((250, 270), (256, 256)),
        ((100, 100), (256, 256)),  # enlarged to the least number of pixels
        ((480, 640), (480, 640)),
        ((8000, 8000), (4096, 4096)),  # shrunk to the largest
    ],
)
def test_qwen_resizes_to_whole_tokens_within_its_limits(size, expected):
    assert smart_size(*size, PATCHES) == expected


@pytest.mark.parametrize(
    ("size", "expected"), [((256, 256), (252, 252)), ((10, 10), (56, 56)), ((42, 70), (56, 56))]
)
def test_eagle_resizes_to_whole_tokens_halves_to_even(size, expected):
    assert whole_tokens(*size) == expected
