# SPDX-License-Identifier: Apache-2.0
"""Picture paths against other computations of the same: OpenCV's, Pillow's, and plain formulas."""

import json
import math
from typing import ClassVar

import numpy as np
import pytest
from models.golden import GOLDEN, torch

cv2 = pytest.importorskip("cv2", reason="what one of the pipelines is held against")
hypothesis = pytest.importorskip("hypothesis", reason="makes up the frames of these tests")
from hypothesis import example, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from PIL import Image  # noqa: E402

from gr00t_policy_core import SpecError  # noqa: E402
from gr00t_policy_core.models.common.image_processing import (  # noqa: E402
    AreaCrop,
    BicubicCrop,
    BilinearCrop,
    Unchanged,
    image_pipeline,
    lerobot_pipeline,
)
from gr00t_policy_core.models.gr00t_n1d6 import vision as n1d6  # noqa: E402
from gr00t_policy_core.models.gr00t_n1d7 import vision as n1d7  # noqa: E402

SETTINGS = settings(deadline=None, max_examples=60, derandomize=True)
SIDES = st.integers(1, 420)
SHAPES = st.tuples(SIDES, SIDES).filter(lambda size: max(size) <= 40 * min(size))
EDGES = st.integers(1, 260)
FRACTIONS = st.one_of(st.just(1.0), st.just(0.95), st.floats(0.05, 1.0))
PATCHES = n1d7.PatchConfig(16, 2, 2, 65536, 16777216, (0.5,) * 3, (0.5,) * 3, 1 / 255)


def frame_of(size):
    """Noise above, a slope below: sums near a half, and edges."""
    frame = np.random.default_rng(size[0] * 997 + size[1]).integers(0, 256, (*size, 3), np.uint8)
    frame[size[0] // 2 :] = np.linspace(0, 255, size[1]).astype(np.uint8)[:, None]
    return frame


def boxed(frame):
    """A letter box by OpenCV."""
    height, width = frame.shape[:2]
    down, across = max(width - height, 0), max(height - width, 0)
    sides = (down // 2, down - down // 2, across // 2, across - across // 2)
    return cv2.copyMakeBorder(frame, *sides, cv2.BORDER_CONSTANT, value=0)


def smallest_max_size(frame, edge):
    """As albumentations' SmallestMaxSize does it."""
    scale = edge / float(min(frame.shape[:2]))
    if scale == 1.0:
        return frame
    height, width = (round(side * scale) for side in frame.shape[:2])
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def center(frame, height, width):
    top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
    return np.ascontiguousarray(frame[top : top + height, left : left + width])


@SETTINGS
@given(SHAPES, EDGES, FRACTIONS, st.booleans())
def test_area_crops_are_what_opencv_makes_step_by_step(size, edge, fraction, letter_box):
    frame = frame_of(size)
    expected = smallest_max_size(boxed(frame) if letter_box else frame, edge)
    height, width = (max(1, int(side * fraction)) for side in expected.shape[:2])
    expected = smallest_max_size(center(expected, height, width), edge)
    pipeline = AreaCrop(edge, fraction, letter_box=letter_box)
    assert pipeline.size(*size) == expected.shape[:2]
    np.testing.assert_array_equal(pipeline(frame), expected)
    on_device = pipeline.on_device(torch.from_numpy(frame)[None])
    np.testing.assert_array_equal(on_device[0].numpy(), expected)


def pillow(frame, size, how):
    return np.asarray(Image.fromarray(frame).resize((size[1], size[0]), how))


def bicubic_rows_first(frame, size):
    """Rows first, in whatever order this release of Pillow would do both."""
    across = pillow(frame, (frame.shape[0], size[1]), Image.Resampling.BICUBIC)
    return pillow(across, size, Image.Resampling.BICUBIC)


def apart(one, other):
    return int(np.abs(one.astype(int) - other.astype(int)).max())


TARGETS = st.tuples(st.integers(8, 200), st.integers(8, 200))


@SETTINGS
@given(SHAPES, TARGETS, st.floats(0.3, 1.0), st.booleans())
def test_bilinear_crops_are_pillows_but_for_rounding(size, target, part, letter_box):
    """torch's weights have fewer bits than Pillow's: a level a resize."""
    frame = frame_of(size)
    crop = (max(1, int(target[0] * part)), max(1, int(target[1] * part)))
    how = Image.Resampling.BILINEAR
    expected = pillow(boxed(frame) if letter_box else frame, target, how)
    top, left = (round((has - crop[i]) / 2) for i, has in enumerate(target))
    expected = np.ascontiguousarray(expected[top : top + crop[0], left : left + crop[1]])
    expected = pillow(expected, target, how)
    pipeline = BilinearCrop(target, crop, letter_box=letter_box)
    result = pipeline(frame)
    assert result.shape[:2] == pipeline.size(*size) == target
    assert apart(result, expected) <= 3
    on_device = pipeline.on_device(torch.from_numpy(frame)[None])
    np.testing.assert_array_equal(on_device[0].numpy(), result)


@SETTINGS
@given(SHAPES, TARGETS, EDGES, FRACTIONS, st.booleans())
def test_bicubic_crops_are_pillows_but_for_rounding(size, target, edge, fraction, letter_box):
    frame, how = frame_of(size), Image.Resampling.BICUBIC
    expected = pillow(boxed(frame) if letter_box else frame, (edge, edge), how)
    side = max(1, round(edge * fraction))
    expected = pillow(center(expected, side, side), target, how)
    pipeline = BicubicCrop(edge, fraction, target, letter_box=letter_box)
    result = pipeline(frame)
    assert result.shape[:2] == pipeline.size(*size) == target
    assert apart(result, expected) <= 4
    on_device = pipeline.on_device(torch.from_numpy(frame)[None])
    np.testing.assert_array_equal(on_device[0].numpy(), result)


@SETTINGS
@given(SHAPES)
def test_whole_tokens_are_those_nearest_to_the_image(size):
    """Each side by itself, unless there would be too few or too many pixels."""
    for side, fewest, found in (
        (32, PATCHES.min_pixels, n1d7.smart_size(*size, PATCHES)),
        (28, n1d6.MIN_PIXELS, n1d6.whole_tokens(*size)),
    ):
        nearest = tuple(max(1, round(pixels / side)) * side for pixels in size)
        assert all(pixels % side == 0 and pixels > 0 for pixels in found)
        if math.prod(nearest) >= fewest:
            assert found == nearest
        else:
            assert math.prod(found) >= fewest


@SETTINGS
@example((161, 496))
@given(st.tuples(st.integers(28, 300), st.integers(28, 500)))
def test_images_become_whole_tokens_as_pillow_resizes_them(size):
    frame = frame_of(size)
    qwen = n1d7.resize_to_tokens([frame, frame], PATCHES).numpy()
    assert apart(qwen[1], bicubic_rows_first(frame, qwen.shape[1:3])) <= 2
    on_device = n1d7.resize_to_tokens_on_device(torch.from_numpy(frame)[None], PATCHES)
    np.testing.assert_array_equal(on_device[0].numpy(), qwen[0])
    eagle = n1d6.resize_to_tokens([frame, frame]).numpy()
    expected = bicubic_rows_first(frame, eagle.shape[1:3])
    np.testing.assert_array_equal(eagle[0], expected)
    on_device = n1d6.resize_to_tokens_on_device(torch.from_numpy(frame)[None])
    np.testing.assert_array_equal(on_device[0].numpy(), expected)


class TestLeRobot:
    """The image path of LeRobot's preprocessor, `use_albumentations` or not."""

    STEP: ClassVar = {
        "image_crop_size": [86, 86],
        "image_target_size": [96, 96],
        "shortest_image_edge": None,
        "crop_fraction": None,
        "use_albumentations": False,
        "letter_box_transform": False,
    }

    @pytest.mark.parametrize("name", ["a", "b"])
    @pytest.mark.parametrize("case", ["one", "batch"])
    @pytest.mark.parametrize("way", ["host", "device"])
    def test_pixels_are_lerobots(self, name, case, way):
        folder = GOLDEN / "lerobot_n1d7" / name
        if not folder.is_dir():
            pytest.skip(f"no golden data in {GOLDEN}: set GR00T_GOLDEN")
        text = (folder / "pretrained_model" / "policy_preprocessor.json").read_text("utf-8")
        (step,) = (
            step["config"]
            for step in json.loads(text)["steps"]
            if step["registry_name"] == "groot_n1_7_vlm_encode_v1"
        )
        pipeline = lerobot_pipeline(step)
        backbone = next((folder / "nvidia").glob("Cosmos*")) / "preprocessor_config.json"
        patches = n1d7.PatchConfig.read(json.loads(backbone.read_text("utf-8")))
        with np.load(folder / "expected.npz") as arrays:
            videos = [arrays[f"{case}/video/{key}"] for key in ("front", "wrist")]
            expected = arrays[f"{case}/pixel_values"]
        frames = [video[row] for row in range(len(videos[0])) for video in videos]
        if way == "host":
            images = n1d7.resize_to_tokens([pipeline(frame) for frame in frames], patches)
        else:
            given_frames = torch.from_numpy(np.stack(frames))
            images = n1d7.resize_to_tokens_on_device(pipeline.on_device(given_frames), patches)
        pixels = n1d7.Patchify.make(patches, torch.device("cpu"))(images)
        error = np.abs(pixels.numpy().reshape(expected.shape) - expected).max()
        assert error <= 1e-5

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, BicubicCrop(96, 86 / 96, (96, 96), letter_box=False)),
            ({"letter_box_transform": True}, BicubicCrop(96, 86 / 96, (96, 96), letter_box=True)),
            ({"shortest_image_edge": 100}, BicubicCrop(100, 86 / 96, (96, 96), letter_box=False)),
            ({"crop_fraction": 0.9}, BicubicCrop(96, 0.9, (96, 96), letter_box=False)),
            ({"crop_fraction": 1.5}, BicubicCrop(96, 1.0, (96, 96), letter_box=False)),
            ({"image_crop_size": None}, BicubicCrop(96, 1.0, (96, 96), letter_box=False)),
            ({"image_target_size": [64, 96]}, BicubicCrop(64, 1.0, (64, 96), letter_box=False)),
            ({"use_albumentations": True}, AreaCrop(96, 86 / 96, letter_box=False)),
            (
                {"use_albumentations": True, "image_crop_size": None},
                AreaCrop(96, 1.0, letter_box=False),
            ),
            ({"image_target_size": None}, Unchanged()),
        ],
    )
    def test_what_its_file_says_is_what_is_done(self, changes, expected):
        assert lerobot_pipeline({**self.STEP, **changes}) == expected

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"image_target_size": 96}, "policy_preprocessor.json: image_target_size must be hei"),
            ({"image_crop_size": [0, 5]}, r"image_crop_size must be height and .*\[0, 5\]"),
            ({"crop_fraction": -0.5}, "crop_fraction must be above 0"),
            ({"crop_fraction": True}, "crop_fraction must be above 0.* True"),
            ({"shortest_image_edge": 0}, "shortest_image_edge must be a positive"),
            (
                {"letter_box_transform": "no"},
                "policy_preprocessor.json: letter_box_transform must be tr",
            ),
        ],
    )
    def test_what_its_file_cannot_mean_is_named(self, changes, named):
        with pytest.raises(SpecError, match=named):
            lerobot_pipeline({**self.STEP, **changes})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"shortest_image_edge": None}, (128, 0.95)),
        ({"crop_fraction": None}, (512, 0.9)),
        ({"shortest_image_edge": None, "crop_fraction": None}, (128, 0.9)),
        ({"shortest_image_edge": 256, "crop_fraction": 1.0}, (256, 1.0)),
        ({}, (512, 0.95)),
    ],
)
def test_an_edge_or_fraction_of_null_is_taken_from_the_sizes(fields, expected):
    sizes = {"image_target_size": [128, 64], "image_crop_size": [115.2, 1]}
    sizes["image_crop_size"] = [115, 1]
    fraction = 115 / 128 if expected[1] == 0.9 else expected[1]
    fields = {"use_albumentations": True, **sizes, **fields}
    assert image_pipeline(fields, 512) == AreaCrop(expected[0], fraction, letter_box=False)
