# SPDX-License-Identifier: Apache-2.0
"""Pictures: every encoding to RGB, with and without row padding, copied only where needed."""

from __future__ import annotations

import sys
import types
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from policies_for_tests import parameters
from sensor_msgs.msg import CompressedImage, Image

from gr00t_ros.contract import parse_contract
from gr00t_ros.conversions import ConversionError
from gr00t_ros.images import resized, rgb_from_compressed, rgb_from_image

RGB = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
ALPHA = np.full((6, 5, 1), 77, np.uint8)
GRAY = RGB[:, :, :1]
PIXELS = {
    "rgb8": RGB,
    "bgr8": RGB[:, :, ::-1],
    "rgba8": np.concatenate([RGB, ALPHA], axis=2),
    "bgra8": np.concatenate([RGB[:, :, ::-1], ALPHA], axis=2),
    "mono8": GRAY,
}


def image(encoding: str, *, padding: int = 0) -> Image:
    pixels = PIXELS[encoding]
    height, width, channels = pixels.shape
    rows = np.full((height, width * channels + padding), 222, np.uint8)
    rows[:, : width * channels] = pixels.reshape(height, -1)
    return Image(
        height=height, width=width, step=rows.shape[1], encoding=encoding, data=rows.tobytes()
    )


def smooth(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """A picture that jpeg keeps, each channel different."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([2 * y, 3 * x, y + x], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize("encoding", PIXELS)
def test_every_plain_encoding_becomes_rgb(encoding: str, padding: int) -> None:
    pixels = rgb_from_image(image(encoding, padding=padding))
    expected = np.repeat(GRAY, 3, axis=2) if encoding == "mono8" else RGB
    assert pixels.dtype == np.uint8
    assert_array_equal(pixels, expected)


@pytest.mark.parametrize("padding", [0, 7])
def test_rgb8_is_not_copied_and_cannot_be_written(padding: int) -> None:
    message = image("rgb8", padding=padding)
    pixels = rgb_from_image(message)
    assert np.shares_memory(pixels, np.frombuffer(message.data, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0, 0] = 1


def test_bytes_behind_the_last_row_do_no_harm() -> None:
    message = image("bgr8")
    message.data = message.data.tobytes() + b"\0" * 9
    assert_array_equal(rgb_from_image(message), RGB)


@pytest.mark.parametrize(
    "change",
    [{"height": 7}, {"width": 6}, {"step": 14}, {"step": 16}, {"height": 0}, {"width": 0}],
)
def test_a_size_that_the_bytes_do_not_have_is_refused(change: dict[str, int]) -> None:
    message = image("rgb8")
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ConversionError, match=r"image of \d+x\d+ rgb8 with step \d+ cannot have"):
        rgb_from_image(message)


def test_an_unknown_encoding_is_named_and_so_is_cv_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    message = Image(height=2, width=2, step=4, encoding="bayer_rggb8", data=bytes(8))
    with pytest.raises(ConversionError, match=r"'bayer_rggb8' is none of rgb8.*cv_bridge"):
        rgb_from_image(message)


def fake_cv_bridge(answer: Any) -> types.ModuleType:
    """The part of cv_bridge that is used; `answer` is a picture or an error to raise."""
    module = types.ModuleType("cv_bridge")

    class CvBridgeError(TypeError):
        pass

    class CvBridge:
        def imgmsg_to_cv2(self, message: Image, desired_encoding: str) -> Any:
            assert desired_encoding == "rgb8"
            if isinstance(answer, str):
                raise CvBridgeError(answer)
            return answer

    module.CvBridge, module.CvBridgeError = CvBridge, CvBridgeError  # type: ignore[attr-defined]
    return module


def test_cv_bridge_reads_other_encodings_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cv_bridge", fake_cv_bridge(RGB))
    assert_array_equal(rgb_from_image(Image(encoding="bayer_rggb8")), RGB)


def test_what_cv_bridge_cannot_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv_bridge", fake_cv_bridge("no conversion to rgb8"))
    with pytest.raises(ConversionError, match="image encoding '16UC1': no conversion to rgb8"):
        rgb_from_image(Image(encoding="16UC1"))


def compressed(suffix: str, pixels: NDArray[np.uint8]) -> CompressedImage:
    done, data = cv2.imencode(suffix, pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    assert done
    return CompressedImage(format=suffix[1:], data=data.tobytes())


def test_png_is_read_exactly() -> None:
    assert_array_equal(rgb_from_compressed(compressed(".png", RGB)), RGB)


def test_jpeg_is_read_as_rgb() -> None:
    pixels = rgb_from_compressed(compressed(".jpg", smooth())).astype(int)
    assert np.abs(pixels - smooth()).mean() < 4.0


def test_a_gray_png_becomes_rgb() -> None:
    gray = GRAY[:, :, 0]
    assert_array_equal(rgb_from_compressed(compressed(".png", gray)), np.repeat(GRAY, 3, axis=2))


def announcing_too_much() -> bytes:
    """A png header of 65535 x 65535 pixels, which OpenCV raises for instead of returning None."""
    data = bytearray(compressed(".png", RGB).data)
    data[16:24] = (65535).to_bytes(4, "big") * 2
    return bytes(data)


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 100, b"\xff\xd8\xff", announcing_too_much()], ids=len
)
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    message = CompressedImage(format="rgb8; jpeg compressed bgr8", data=data)
    with pytest.raises(ConversionError, match=f"{len(data)} bytes is no jpeg/png"):
        rgb_from_compressed(message)


def test_pictures_are_brought_to_the_size_asked_for() -> None:
    stream = parse_contract(parameters(video__front__width=32, video__front__height=12)).video[0]
    pixels = resized(smooth(48, 64), stream)
    assert pixels.shape == (12, 32, 3)
    assert pixels.dtype == np.uint8
    blocks = smooth(48, 64).reshape(12, 4, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(pixels - blocks).max() <= 1.0


@pytest.mark.parametrize("size", [{}, {"width": 64, "height": 48}])
def test_a_picture_of_the_right_size_is_left_alone(size: dict[str, int]) -> None:
    changes = {f"video__front__{name}": value for name, value in size.items()}
    pixels = smooth(48, 64)
    assert resized(pixels, parse_contract(parameters(**changes)).video[0]) is pixels
