# SPDX-License-Identifier: Apache-2.0
"""Which pictures can go on as the JPEG that they are: told by their headers alone."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sensor_msgs.msg import CompressedImage, Image

from gr00t_policy_core.serving.wire.jpeg import MAX_PIXELS
from gr00t_ros.interfaces.image_decoding import rgb_from_compressed
from gr00t_ros.interfaces.interface import ConversionError
from gr00t_ros.interfaces.jpeg_passthrough import JpegHeader, jpeg_video

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def jpeg(pixels: np.ndarray = PIXELS, **options: int) -> bytes:
    settings = [v for k, value in options.items() for v in (getattr(cv2, k), value)]
    done, data = cv2.imencode(".jpg", pixels, settings)
    assert done
    return data.tobytes()


def message(data: bytes) -> CompressedImage:
    return CompressedImage(format="jpeg", data=data)


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def frame_header(*, height: int = 48, width: int = 64, bits: int = 8, components: int = 3) -> bytes:
    """A JPEG that ends behind its frame header."""
    sizes = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    content = bytes([bits]) + sizes + bytes([components]) + bytes(3 * components)
    return b"\xff\xd8" + segment(0xC0, content)


PLAIN = JpegHeader(height=48, width=64, bits=8, components=3, has_exif=False)


@pytest.mark.parametrize(
    "data",
    [
        jpeg(),
        jpeg(IMWRITE_JPEG_PROGRESSIVE=1),
        jpeg(IMWRITE_JPEG_OPTIMIZE=1, IMWRITE_JPEG_RST_INTERVAL=2),
        jpeg(IMWRITE_JPEG_SAMPLING_FACTOR=cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        frame_header(),
    ],
)
def test_a_header_is_read_without_decoding(data: bytes) -> None:
    assert JpegHeader.of(data) == PLAIN
    assert PLAIN.can_pass_through


def test_a_grey_picture_can_pass_through_too() -> None:
    header = JpegHeader.of(jpeg(PIXELS[:, :, 0]))
    assert header is not None
    assert (header.components, header.can_pass_through) == (1, True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\xff\xd8" + bytes(100),
        b"\xff\xd8" + b"\xff\xe0\x00\x00" * 50,
        jpeg()[:30],
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        frame_header()[:11],
    ],
)
def test_bytes_without_a_header_are_no_jpeg(data: bytes) -> None:
    assert JpegHeader.of(data) is None
    assert jpeg_video([message(data)]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"bits": 12},
        {"components": 4},
        {"height": 0},
        {"height": 65535, "width": 65535},
    ],
)
def test_what_a_server_would_not_decode_alike_does_not_go_as_it_is(change: dict[str, int]) -> None:
    header = JpegHeader.of(frame_header(**change))
    assert header is not None
    assert not header.can_pass_through
    assert jpeg_video([message(frame_header(**change))]) is None


def test_a_picture_that_asks_to_be_turned_is_decoded_here() -> None:
    plain = jpeg()
    orientation = b"MM\0*\0\0\0\x08\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + bytes(4)
    turned = plain[:2] + segment(0xE1, b"Exif\0\0" + orientation) + plain[2:]
    assert jpeg_video([message(turned)]) is None
    assert rgb_from_compressed(message(turned)).shape == (64, 48, 3)  # as OpenCV turns it


def test_a_jpeg_that_announces_too_many_pixels_is_not_decoded() -> None:
    with pytest.raises(ConversionError, match=f"65535x65535 pixels: at most {MAX_PIXELS}"):
        rgb_from_compressed(message(frame_header(height=65535, width=65535)))


def test_pictures_of_a_history_keep_their_order_and_their_bytes() -> None:
    frames = [jpeg(np.roll(PIXELS, turn, axis=1)) for turn in range(3)]
    video = jpeg_video([message(frame) for frame in frames])
    assert video is not None
    assert list(video.frames) == frames
    assert video.shape == (1, 3, 48, 64, 3)


@pytest.mark.parametrize(
    "other", [message(jpeg(PIXELS[:24])), message(b"\x89PNG"), Image(encoding="rgb8")]
)
def test_a_history_of_several_kinds_is_decoded_here(other: Any) -> None:
    assert jpeg_video([message(jpeg()), other]) is None


def test_pixels_are_the_same_wherever_they_are_decoded() -> None:
    pytest.importorskip("simplejpeg", reason="pip install '.[jpeg]'")
    for data in (jpeg(), jpeg(PIXELS[:, :, 0]), jpeg(IMWRITE_JPEG_PROGRESSIVE=1)):
        video = jpeg_video([message(data)])
        assert video is not None
        assert_array_equal(video.decode()[0, 0], rgb_from_compressed(message(data)))
