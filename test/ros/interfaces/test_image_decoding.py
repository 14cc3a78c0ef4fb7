# SPDX-License-Identifier: Apache-2.0
"""Pictures: every encoding to RGB, with and without row padding, copied only where needed."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from policies_for_tests import parameters
from sensor_msgs.msg import CompressedImage, Image

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.serving.wire import jpeg
from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.interfaces.image_decoding import (
    image_reader,
    resized,
    rgb_from_compressed,
    rgb_from_image,
)
from gr00t_ros.interfaces.interface import ConversionError
from gr00t_ros.interfaces.jpeg_passthrough import JpegHeader, require_complete

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


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1", "mono16", "rgb16", "bayer_rggb16", "64FC3"])
@pytest.mark.parametrize("meant", [None, "mono8"])
def test_depth_and_16_bits_are_refused_by_name(encoding: str, meant: str | None) -> None:
    message = Image(height=2, width=2, step=4, encoding=encoding, data=bytes(8))
    with pytest.raises(ConversionError, match=f"'{encoding}' is a depth image, or has more"):
        rgb_from_image(message, meant)


@pytest.mark.parametrize("encoding", ["8UC3", "8UC1", "8SC4"])
def test_a_type_without_colours_is_told_how_to_name_them(encoding: str) -> None:
    message = Image(height=2, width=2, step=6, encoding=encoding, data=bytes(12))
    with pytest.raises(ConversionError, match=rf"'{encoding}' does not say.*video.<key>.encoding"):
        rgb_from_image(message)


@pytest.mark.parametrize("encoding", ["", "nv24", "h264", "RGB8"])
def test_an_unknown_encoding_is_named_with_those_that_are_read(encoding: str) -> None:
    message = Image(height=2, width=2, step=6, encoding=encoding, data=bytes(12))
    with pytest.raises(ConversionError, match=rf"'{encoding}' is none of rgb8, bgr8.*nv21"):
        rgb_from_image(message)


def test_the_encoding_of_the_parameters_is_taken_for_what_the_message_says() -> None:
    message = image("bgr8")
    for said in ("8UC3", "rgb8", "BGR"):
        message.encoding = said
        assert_array_equal(rgb_from_image(message, "bgr8"), RGB)


def test_an_encoding_of_other_pixels_than_the_message_has_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"rgb8 has 3 bytes a pixel.*'rgba8', of 4"):
        rgb_from_image(image("rgba8"), "rgb8")
    message = Image(height=2, width=2, step=4, encoding="8UC2", data=bytes(8))
    with pytest.raises(ConversionError, match=r"rgb8 has 3 bytes a pixel.*'8UC2', of 2"):
        rgb_from_image(message, "rgb8")


PATCH = [200, 40, 90]  # RGB of a picture of one colour


@pytest.mark.parametrize(
    ("encoding", "first_row", "second_row"),
    [
        ("bayer_rggb8", "RG", "GB"),
        ("bayer_bggr8", "BG", "GR"),
        ("bayer_gbrg8", "GB", "RG"),
        ("bayer_grbg8", "GR", "BG"),
    ],
)
def test_a_bayer_mosaic_has_its_colours(encoding: str, first_row: str, second_row: str) -> None:
    level = dict(zip("RGB", PATCH, strict=True))
    rows = [[level[c] for c in row] * 4 for row in (first_row, second_row)] * 4
    mosaic = np.array(rows, np.uint8)
    message = Image(height=8, width=8, step=8, encoding=encoding, data=mosaic.tobytes())
    assert_array_equal(rgb_from_image(message), np.full((8, 8, 3), PATCH, np.uint8))


def yuv_of(rgb: list[int]) -> list[int]:
    """BT.601 of limited range, as cameras send it."""
    matrix = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112], [112, -93.786, -18.214]])
    return np.rint(matrix @ (np.array(rgb) / 255) + [16, 128, 128]).astype(int).tolist()


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ["uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21"])
def test_yuv_has_its_colours(encoding: str, padding: int) -> None:
    luma, u, v = yuv_of(PATCH)
    packed = {"uyvy": [u, luma, v, luma], "yuyv": [luma, u, luma, v]}
    packed |= {"yuv422": packed["uyvy"], "yuv422_yuy2": packed["yuyv"]}
    if encoding in packed:
        rows = np.tile(np.array(packed[encoding], np.uint8), (4, 3))
    else:
        pair = [u, v] if encoding == "nv12" else [v, u]
        rows = np.concatenate([np.full((4, 6), luma), np.tile(pair, (2, 3))]).astype(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=222)
    message = Image(
        height=4, width=6, step=padded.shape[1], encoding=encoding, data=padded.tobytes()
    )
    pixels = rgb_from_image(message)
    assert pixels.shape == (4, 6, 3)
    assert np.abs(pixels.astype(int) - PATCH).max() <= 2


def test_yuv_of_an_odd_width_or_too_few_bytes_is_refused() -> None:
    odd = Image(height=2, width=3, step=6, encoding="yuyv", data=bytes(12))
    with pytest.raises(ConversionError, match="image of 3x2 yuyv"):
        rgb_from_image(odd)
    short = Image(height=4, width=6, step=6, encoding="nv12", data=bytes(35))
    with pytest.raises(ConversionError, match="6x4 nv12 with step 6 cannot have 35 bytes"):
        rgb_from_image(short)


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


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, announcing_too_much()], ids=len)
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    message = CompressedImage(format="rgb8; jpeg compressed bgr8", data=data)
    with pytest.raises(ConversionError, match=f"{len(data)} bytes is neither JPEG nor PNG"):
        rgb_from_compressed(message)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
def test_a_compressed_picture_of_16_bits_is_refused(suffix: str, shape: tuple[int, ...]) -> None:
    """Depth in mm as png: made to 8 bits it is nearly black."""
    done, data = cv2.imencode(suffix, np.full(shape, 1500, np.uint16))
    assert done
    message = CompressedImage(format="png", data=data.tobytes())
    with pytest.raises(ConversionError, match=r"format 'png', of uint16, is a depth image"):
        rgb_from_compressed(message)


@pytest.mark.parametrize(
    "kind", ["16UC1; compressedDepth png", "32FC1; compressedDepth", "16UC1; jpeg compressed mono8"]
)
def test_compressed_depth_is_refused_by_its_format(kind: str) -> None:
    message = CompressedImage(format=kind, data=compressed(".jpg", smooth()).data)
    with pytest.raises(ConversionError, match=f"format '{kind}' is a depth image"):
        rgb_from_compressed(message)


def test_a_camera_of_16_bits_may_make_jpeg_of_8() -> None:
    message = compressed(".jpg", smooth())
    message.format = "bayer_rggb16; jpeg compressed bgr8"
    assert rgb_from_compressed(message).shape == (48, 64, 3)


def jpeg_with_damage() -> dict[str, bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    whole = bytes(compressed(".jpg", noise).data)
    middle = len(whole) // 2
    return {
        "cut to 40 %": whole[: len(whole) * 2 // 5],
        "without its end": whole[:-2],
        "cut, with an end": whole[:middle] + whole[-2:],
        "bytes lost in the middle": whole[:middle] + whole[middle + 400 :],
        "bytes before the end": whole[:-2] + bytes(9) + whole[-2:],
        "no header": b"\xff\xd8\xff",
        "fill bytes before a marker, and cut": b"\xff\xd8\xff" + whole[2:middle],
    }


@pytest.mark.parametrize("damage", jpeg_with_damage())
def test_a_damaged_jpeg_is_refused_whether_it_is_decoded_or_goes_on(damage: str) -> None:
    message = CompressedImage(format="jpeg", data=jpeg_with_damage()[damage])
    with pytest.raises(ConversionError, match="a damaged JPEG"):
        rgb_from_compressed(message)
    if JpegHeader.of(message.data) is not None:
        with pytest.raises(ConversionError, match="a damaged JPEG"):
            require_complete(message)


def test_bytes_behind_the_end_of_a_jpeg_do_no_harm() -> None:
    """Cameras pad their frames."""
    message = compressed(".jpg", smooth())
    pixels = rgb_from_compressed(message)
    message.data = bytes(message.data) + bytes(100)
    assert_array_equal(rgb_from_compressed(message), pixels)
    require_complete(message)


def test_without_simplejpeg_a_jpeg_is_not_read_and_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jpeg, "is_available", lambda: False)
    with pytest.raises(ConversionError, match="pip install simplejpeg"):
        rgb_from_compressed(compressed(".jpg", smooth()))
    with pytest.raises(ConversionError, match="pip install simplejpeg"):
        require_complete(compressed(".jpg", smooth()))
    assert_array_equal(rgb_from_compressed(compressed(".png", RGB)), RGB)


def camera(**changes: str) -> Any:
    changes = {f"video__front__{name}": value for name, value in changes.items()}
    return parse_contract(parameters(**changes)).video[0]


def test_a_camera_is_read_by_the_encoding_of_its_parameters() -> None:
    message = image("bgr8")
    message.encoding = "8UC3"
    assert_array_equal(image_reader(camera(encoding="bgr8"))(message), RGB)


def test_an_encoding_has_no_place_where_pictures_are_compressed() -> None:
    with pytest.raises(ConversionError, match="encoding: bgr8 is for sensor_msgs/Image, front/im"):
        image_reader(camera(encoding="bgr8"))(compressed(".png", RGB))


def test_only_encodings_of_pictures_can_be_asked_for() -> None:
    with pytest.raises(SpecError, match=r"video.front.encoding: must be one of rgb8.*'16UC1'"):
        camera(encoding="16UC1")


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
