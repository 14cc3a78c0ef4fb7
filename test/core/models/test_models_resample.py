# SPDX-License-Identifier: Apache-2.0
"""Pictures resized on the device are those resized on the host, bit by bit."""

import numpy as np
import pytest
from models.golden import assert_golden, policy_of, sent_pictures, torch

from gr00t_policy_core.models.common.images import AreaCrop, BilinearCrop
from gr00t_policy_core.models.common.resample import resize_antialiased, resize_area
from gr00t_policy_core.models.common.run_settings import RunSettings
from gr00t_policy_core.models.gr00t_n1d6 import vision as n1d6
from gr00t_policy_core.models.gr00t_n1d7 import vision as n1d7
from gr00t_policy_core.models.policy import ModelPolicy
from gr00t_policy_core.resize import bilinear_resized, letterbox, triangle

SIZES = [(480, 640), (640, 480), (360, 640), (720, 1280), (1080, 1920), (256, 256), (512, 384)]
SMALL_SIZES = [(64, 64), (100, 37), (243, 243), (255, 257), (3, 500)]
ODD_SIZES = [(int(h), int(w)) for h, w in np.random.default_rng(0).integers(5, 900, (12, 2))]
PATCHES = n1d7.PatchConfig(16, 2, 2, 65536, 16777216, (0.5,) * 3, (0.5,) * 3, 1 / 255)


def frames_of(height, width, count=1):
    """Noise, and where there is room a smooth picture, whose sums are often near a half."""
    rng = np.random.default_rng(height * 1000 + width)
    frames = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    slope = np.linspace(0, 255, width).astype(np.uint8)
    frames[:, : height // 2] = slope[:, None]
    return frames


@pytest.mark.parametrize("size", SIZES + SMALL_SIZES + ODD_SIZES)
@pytest.mark.parametrize("edge", [256, 224, 96])
def test_area_crops_are_opencvs(size, edge):
    pytest.importorskip("cv2", reason="this pipeline needs OpenCV on the host")
    pipeline, frames = AreaCrop(edge, 0.95), frames_of(*size)
    resized = pipeline.on_device(torch.from_numpy(frames))
    np.testing.assert_array_equal(resized[0].numpy(), pipeline(frames[0]))


@pytest.mark.parametrize("side", [512, 768, 1024, 2048])
def test_a_whole_number_of_pixels_is_one_as_opencv_has_it(side):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is what it is held against")
    (frame,) = frames_of(side, side)
    expected = cv2.resize(frame, (256, 256), interpolation=cv2.INTER_AREA)
    resized = resize_area(torch.from_numpy(frame)[None], 256)
    np.testing.assert_array_equal(resized[0].numpy(), expected)


@pytest.mark.parametrize("size", SIZES + SMALL_SIZES + ODD_SIZES)
@pytest.mark.parametrize(
    "pipeline",
    [
        BilinearCrop((256, 256), (230, 230)),
        BilinearCrop((224, 320), (200, 300)),
        BilinearCrop((96, 96), (120, 90)),
    ],
)
def test_bilinear_crops_are_torchs(size, pipeline):
    frames = frames_of(*size)
    resized = pipeline.on_device(torch.from_numpy(frames))
    np.testing.assert_array_equal(resized[0].numpy(), pipeline(frames[0]))


@pytest.mark.parametrize("size", SIZES + SMALL_SIZES + ODD_SIZES + [(2047, 1100), (2, 3000)])
@pytest.mark.parametrize("edge", [256, 224, 112, 96, 7])
def test_what_a_client_without_torch_interpolates_is_torchs(size, edge):
    square = letterbox(*frames_of(*size))
    image = torch.from_numpy(square).permute(2, 0, 1)[None].contiguous()
    expected = torch.nn.functional.interpolate(image, (edge, edge), mode="bilinear", antialias=True)
    expected = expected[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(bilinear_resized(square, edge), expected)


@pytest.mark.parametrize("size", [(256, 256), (100, 90), (250, 270), (31, 500)])
def test_qwens_whole_tokens_are_those_of_the_host(size):
    frames = frames_of(*size, count=2)
    resized = n1d7.fit_on_device(torch.from_numpy(frames), PATCHES)
    np.testing.assert_array_equal(resized.numpy(), n1d7.fit(list(frames), PATCHES).numpy())


@pytest.mark.parametrize("side", [256, 224, 100, 31, 500])
def test_eagles_whole_tokens_of_square_pictures_are_pillows(side):
    frames = frames_of(side, side, count=2)
    resized = n1d6.fit_on_device(torch.from_numpy(frames))
    np.testing.assert_array_equal(resized.numpy(), n1d6.fit(list(frames)).numpy())


def resizing_on_device(name):
    loaded = policy_of(name)
    settings = RunSettings(device_images=True)
    return ModelPolicy(loaded.model, loaded.device, loaded.dtype, settings)


@pytest.mark.parametrize("case", ["one", "batch"])
def test_the_references_actions_come_of_them(golden, case):
    assert_golden(golden, case, resizing_on_device(golden.name))


def test_cameras_may_have_different_sizes_and_read_only_frames(n1d7):
    on_device, host = resizing_on_device(n1d7.name), policy_of(n1d7.name)
    observation = n1d7.observation("batch")
    for number, (key, video) in enumerate(observation["video"].items()):
        rows, steps = video.shape[:2]
        size = (50 + 20 * number, 70)
        frames = frames_of(*size, count=rows * steps).reshape(rows, steps, *size, 3)
        frames.flags.writeable = False
        observation["video"][key] = frames
    assert len({video.shape for video in observation["video"].values()}) > 1
    expected = host.model.backbone.pictures(host.frames(observation))
    np.testing.assert_array_equal(sent_pictures(on_device, observation).numpy(), expected.numpy())


def test_nothing_is_done_where_the_size_is_right():
    images = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    assert resize_area(images, 8) is images
    assert resize_antialiased(images, (8, 8), triangle, None) is images
