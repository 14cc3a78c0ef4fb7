# SPDX-License-Identifier: Apache-2.0
"""Converts ROS image messages to RGB arrays with as few copies as possible. Pure.

An image has 8 bits a channel. Depth images and others with more are refused by name: reduced to 8
bits, they would be mostly black.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.errors import ProtocolError
from gr00t_policy_core.serving.wire.jpeg import MAX_PIXELS, decode_jpeg
from gr00t_ros.contract.entry_parameters import ENCODINGS
from gr00t_ros.contract.streams import VideoStream
from gr00t_ros.interfaces.interface import ConversionError
from gr00t_ros.interfaces.jpeg_passthrough import JPEG_START, JpegHeader, names_depth

Rgb = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """The memory layout of an encoding, and how to convert it to RGB.

    Args:
        channels: Bytes of a pixel within a row.
        code: OpenCV's conversion; None where the bytes are RGB already.
        rows: Rows of bytes for two rows of pixels: 3 if a plane of half-size colours follows.
    """

    channels: int
    code: int | None
    rows: int = 2


# OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first row.
_LAYOUTS = {
    "rgb8": PixelLayout(3, None),
    "bgr8": PixelLayout(3, cv2.COLOR_BGR2RGB),
    "rgba8": PixelLayout(4, cv2.COLOR_RGBA2RGB),
    "bgra8": PixelLayout(4, cv2.COLOR_BGRA2RGB),
    "mono8": PixelLayout(1, cv2.COLOR_GRAY2RGB),
    "bayer_rggb8": PixelLayout(1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": PixelLayout(1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": PixelLayout(1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": PixelLayout(1, cv2.COLOR_BayerGB2RGB),
    "uyvy": PixelLayout(2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422": PixelLayout(2, cv2.COLOR_YUV2RGB_UYVY),
    "yuyv": PixelLayout(2, cv2.COLOR_YUV2RGB_YUY2),
    "yuv422_yuy2": PixelLayout(2, cv2.COLOR_YUV2RGB_YUY2),
    "nv12": PixelLayout(1, cv2.COLOR_YUV2RGB_NV12, rows=3),
    "nv21": PixelLayout(1, cv2.COLOR_YUV2RGB_NV21, rows=3),
}
_TYPE = re.compile(r"8[US]C(\d+)")  # a type of OpenCV that does not name the colours
_DEEP = re.compile(r"(?:16|32|64)[USF]C\d+|\w*16")  # more than 8 bits


def rgb_from_image(message: Any, encoding: str | None = None) -> Rgb:
    """Decode a sensor_msgs/Image.

    Args:
        message: The image, in one of `ENCODINGS`.
        encoding: One of `ENCODINGS`, if the message names it wrongly or not at all.

    Returns:
        uint8 (H, W, 3) RGB; for rgb8 without row padding a read-only view of the message's memory.

    Raises:
        ConversionError: The encoding does not have 8 bits a channel, or the message has fewer bytes
            than it announces.
    """
    layout = _layout_of(message.encoding, encoding)
    height, width, step = message.height, message.width, message.step
    row, rows = width * layout.channels, height * layout.rows // 2
    if not height or not width or step < row or len(message.data) < step * rows:
        raise ConversionError(
            f"image of {width}x{height} {encoding or message.encoding} with step {step} "
            f"cannot have {len(message.data)} bytes"
        )
    data = np.frombuffer(message.data, dtype=np.uint8, count=step * rows).reshape(rows, step)
    pixels = data[:, :row].reshape(rows, width, layout.channels)
    if layout.code is None:
        pixels.flags.writeable = False
        return pixels
    try:
        return np.asarray(cv2.cvtColor(pixels, layout.code), dtype=np.uint8)
    except cv2.error as error:  # for example yuv422 of an odd width
        raise ConversionError(
            f"image of {width}x{height} {encoding or message.encoding}: {error.err}"
        ) from error


def rgb_from_compressed(message: Any) -> Rgb:
    """Decode a sensor_msgs/CompressedImage (jpeg or png) to uint8 (H, W, 3) RGB.

    A grey image becomes RGB; transparency is left out. A JPEG is rotated as its EXIF block says.

    Raises:
        ConversionError: The bytes are not such an image, are damaged, have more than 8 bits a
            channel, or announce more than `MAX_PIXELS` pixels.
    """
    if names_depth(message.format):
        raise ConversionError(_no_colours(f"compressed image with format '{message.format}'"))
    if bytes(message.data[:2]) == JPEG_START:
        return _rgb_from_jpeg(message.data)
    bgr = _decoded(message.data)
    if bgr is None:
        raise ConversionError(
            f"compressed image with format '{message.format}' and {len(message.data)} bytes is "
            "neither JPEG nor PNG"
        )
    if bgr.dtype != np.uint8:
        raise ConversionError(
            _no_colours(f"compressed image with format '{message.format}', of {bgr.dtype},")
        )
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def resized(pixels: Rgb, stream: VideoStream) -> Rgb:
    """Resize an image to the size in the contract, with area averaging when shrinking."""
    if stream.width is None or stream.height is None:
        return pixels
    if pixels.shape[:2] == (stream.height, stream.width):
        return pixels
    size = (stream.width, stream.height)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def image_reader(stream: VideoStream) -> Callable[[Any], Rgb]:
    """Return a function that converts a message of a camera to uint8 (H, W, 3) RGB.

    The function raises `ConversionError` for a message that is not an image.
    """

    def read(message: Any) -> Rgb:
        is_raw = hasattr(message, "encoding")  # sensor_msgs/Image has it, CompressedImage has not
        if stream.encoding and not is_raw:
            raise ConversionError(
                f"encoding: {stream.encoding} is for sensor_msgs/Image, {stream.topic} carries "
                "CompressedImage, which names its own encoding: leave the parameter out"
            )
        if is_raw:
            return resized(rgb_from_image(message, stream.encoding), stream)
        return resized(rgb_from_compressed(message), stream)

    return read


def _layout_of(named: str, configured: str | None) -> PixelLayout:
    """Return the layout of the configured encoding, or else of the one that the message names."""
    if _DEEP.fullmatch(named):
        raise ConversionError(_no_colours(f"image encoding '{named}'"))
    if configured is not None:
        layout = _LAYOUTS[configured]
        pixel_bytes = _bytes_of_pixel(named)
        if pixel_bytes not in (None, layout.channels):
            raise ConversionError(
                f"encoding: {configured} has {layout.channels} bytes a pixel, the image says that "
                f"it is '{named}', of {pixel_bytes}"
            )
        return layout
    if named in _LAYOUTS:
        return _LAYOUTS[named]
    if _TYPE.fullmatch(named):
        raise ConversionError(
            f"image encoding '{named}' does not say which colours these are: set "
            "video.<key>.encoding to what they are, rgb8 or bgr8 for example"
        )
    raise ConversionError(
        f"image encoding '{named}' is none of {', '.join(ENCODINGS)}; where it is one of them "
        "under another name, video.<key>.encoding says which"
    )


def _bytes_of_pixel(encoding: str) -> int | None:
    """Return the bytes per pixel of an encoding; None if the encoding is unknown."""
    if encoding in _LAYOUTS:
        return _LAYOUTS[encoding].channels
    found = _TYPE.fullmatch(encoding)
    return int(found[1]) if found else None


def _no_colours(what: str) -> str:
    return f"{what} is a depth image, or has more than 8 bits; a colour image is expected"


def _rgb_from_jpeg(data: Any) -> Rgb:
    header = JpegHeader.of(data)
    if header is not None and header.height * header.width > MAX_PIXELS:
        raise ConversionError(
            f"a jpeg of {header.width}x{header.height} pixels: at most {MAX_PIXELS} are decoded"
        )
    try:
        pixels = decode_jpeg(data)
    except (ProtocolError, ImportError) as error:
        raise ConversionError(f"{len(data)} bytes: {error}") from error
    if header is None or not header.has_exif:
        return pixels
    rotated = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(rotated, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _decoded(data: Any) -> Any | None:
    """Decode an image with OpenCV, BGR, at its own bit depth; None if it is not an image."""
    try:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        return cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags) if len(data) else None
    except cv2.error:  # for example a header that announces more pixels than OpenCV allows
        return None
