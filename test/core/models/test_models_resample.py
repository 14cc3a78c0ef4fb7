# SPDX-License-Identifier: Apache-2.0
"""Images resized on the device are those resized on the host, bit by bit."""

import numpy as np
import pytest
from models.golden import assert_golden, policy_of, sent_images, torch

from gr00t_policy_core.antialias import triangle
from gr00t_policy_core.models.common.execution_settings import ExecutionSettings
from gr00t_policy_core.models.common.image_processing import AreaCrop, BicubicCrop, BilinearCrop
from gr00t_policy_core.models.common.resample import resize_antialiased, resize_area
from gr00t_policy_core.models.gr00t_n1d6 import vision as n1d6
from gr00t_policy_core.models.gr00t_n1d7 import vision as n1d7
from gr00t_policy_core.models.model_policy import ModelPolicy
from gr00t_policy_core.resize import bicubic_resized, bilinear_resized

SIZES = [(480, 640), (640, 480), (360, 640), (720, 1280), (1080, 1920), (256, 256), (512, 384)]
SMALL_SIZES = [(64, 64), (100, 37), (243, 243), (255, 257), (3, 500)]
ODD_SIZES = [(int(h), int(w)) for h, w in np.random.default_rng(0).integers(5, 900, (12, 2))]
PATCHES = n1d7.PatchConfig(16, 2, 2, 65536, 16777216, (0.5,) * 3, (0.5,) * 3, 1 / 255)


def frames_of(height, width, count=1):
    """Noise, and where there is room a smooth image, whose sums are often near a half."""
    rng = np.random.default_rng(height * 1000 + width)
    frames = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    slope = np.linspace(0, 255, width).astype(np.uint8)
    frames[:, : height // 2] = slope[:, None]
    return frames


@pytest.mark.parametrize("size", SIZES + SMALL_SIZES + ODD_SIZES)
@pytest.mark.parametrize("edge", [256, 224, 96])
@pytest.mark.parametrize("letter_box", [True, False])
def test_area_crops_are_opencvs(size, edge, letter_box):
    pytest.importorskip("cv2", reason="this pipeline needs OpenCV on the host")
    pipeline, frames = AreaCrop(edge, 0.95, letter_box=letter_box), frames_of(*size)
    resized = pipeline.on_device(torch.from_numpy(frames))
    np.testing.assert_array_equal(resized[0].numpy(), pipeline(frames[0]))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((512, 512), (256, 256)),
        ((1024, 768), (256, 256)),
        ((512, 256), (256, 256)),
        ((300, 401), (256, 401)),
        ((300, 400), (256, 455)),
        ((100, 400), (256, 200)),
        ((4, 9), (1, 3)),
        ((1, 1), (5, 7)),
        ((999, 3), (9, 3)),
    ],
)
def test_each_side_is_resized_as_opencv_has_it(before, after):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is what it is held against")
    (frame,) = frames_of(*before)
    expected = cv2.resize(frame, after[::-1], interpolation=cv2.INTER_AREA)
    resized = resize_area(torch.from_numpy(frame)[None], after)
    np.testing.assert_array_equal(resized[0].numpy(), expected)


@pytest.mark.parametrize("size", SIZES + SMALL_SIZES + ODD_SIZES)
@pytest.mark.parametrize("letter_box", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda box: BilinearCrop((256, 256), (230, 230), letter_box=box),
        lambda box: BilinearCrop((224, 320), (200, 300), letter_box=box),
        lambda box: BilinearCrop((96, 96), (120, 90), letter_box=box),
        lambda box: BicubicCrop(256, 230 / 256, (256, 256), letter_box=box),
        lambda box: BicubicCrop(100, 0.93, (64, 96), letter_box=box),
        lambda box: BicubicCrop(96, 1.0, (96, 96), letter_box=box),
    ],
)
def test_crops_of_one_size_are_torchs(size, make, letter_box):
    pipeline, frames = make(letter_box), frames_of(*size)
    resized = pipeline.on_device(torch.from_numpy(frames))
    np.testing.assert_array_equal(resized[0].numpy(), pipeline(frames[0]))


@pytest.mark.parametrize("size", SIZES + SMALL_SIZES + ODD_SIZES + [(2047, 1100), (2, 3000)])
@pytest.mark.parametrize("after", [(256, 256), (224, 320), (112, 96), (7, 7)])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_what_a_client_without_torch_interpolates_is_torchs(size, after, mode):
    (frame,) = frames_of(*size)
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].contiguous()
    expected = torch.nn.functional.interpolate(image, after, mode=mode, antialias=True)
    expected = expected[0].permute(1, 2, 0).numpy()
    resize = bilinear_resized if mode == "bilinear" else bicubic_resized
    np.testing.assert_array_equal(resize(frame, after), expected)


@pytest.mark.parametrize("size", [(256, 256), (100, 90), (250, 270), (31, 500)])
def test_qwens_whole_tokens_are_those_of_the_host(size):
    frames = frames_of(*size, count=2)
    resized = n1d7.resize_to_tokens_on_device(torch.from_numpy(frames), PATCHES)
    np.testing.assert_array_equal(
        resized.numpy(), n1d7.resize_to_tokens(list(frames), PATCHES).numpy()
    )


@pytest.mark.parametrize(
    "size",
    [(256, 256), (31, 31), (256, 340), (340, 256), (256, 455), (455, 256), (500, 20), (300, 100)],
)
def test_eagles_whole_tokens_are_those_of_the_host(size):
    frames = frames_of(*size, count=2)
    resized = n1d6.resize_to_tokens_on_device(torch.from_numpy(frames))
    np.testing.assert_array_equal(resized.numpy(), n1d6.resize_to_tokens(list(frames)).numpy())


def resizing_on_device(name):
    loaded = policy_of(name)
    settings = ExecutionSettings(device_images=True)
    return ModelPolicy(loaded.model, loaded.device, loaded.dtype, settings)


@pytest.mark.parametrize("case", ["one", "batch"])
def test_the_references_actions_come_of_them(golden, case):
    assert_golden(golden, case, resizing_on_device(golden.name))


# Of each checkpoint: frames whose images become one size, though they differ themselves.
CAMERA_SIZES = {
    "gr00t_n1d7/a": [(50, 70), (70, 70)],
    "gr00t_n1d7/b": [(50, 70)],
    "gr00t_n1d7/c": [(480, 640), (60, 80)],
    "gr00t_n1d7/d": [(50, 70), (333, 41)],
    "gr00t_n1d7/e": [(50, 70), (70, 70), (91, 33)],
    "gr00t_n1d6/a": [(50, 70)],
    "gr00t_n1d6/b": [(50, 70), (70, 70)],
    "gr00t_n1d6/c": [(480, 640), (60, 80)],
}


def test_cameras_may_have_different_sizes_and_read_only_frames(golden):
    on_device, host = resizing_on_device(golden.name), policy_of(golden.name)
    observation = golden.observation("batch")
    for size, (key, video) in zip(
        CAMERA_SIZES[golden.name], observation["video"].items(), strict=True
    ):
        rows, steps = video.shape[:2]
        frames = frames_of(*size, count=rows * steps).reshape(rows, steps, *size, 3)
        frames.flags.writeable = False
        observation["video"][key] = frames
    host.check_observation(observation)
    expected = host.model.backbone.images(host.preprocessor.frames(observation))
    np.testing.assert_array_equal(sent_images(on_device, observation).numpy(), expected.numpy())


def test_nothing_is_done_where_the_size_is_right():
    images = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    assert resize_area(images, (8, 8)) is images
    assert resize_antialiased(images, (8, 8), triangle, None) is images
