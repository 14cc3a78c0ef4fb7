# SPDX-License-Identifier: Apache-2.0
"""Pictures: ROS image messages to RGB arrays, with as few copies as their encoding allows. Pure."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.serving.images import MAX_PIXELS
from gr00t_ros.contract import VideoStream
from gr00t_ros.conversions import ConversionError
from gr00t_ros.jpeg import JpegHeader

Rgb = NDArray[np.uint8]

_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
_TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
}


def rgb_from_image(message: Any) -> Rgb:
    """The pixels of a sensor_msgs/Image.

    Returns:
        uint8 (H, W, 3) RGB; for rgb8 without row padding a read-only view of the message's memory.

    Raises:
        ConversionError: An encoding that neither this nor cv_bridge can read, or fewer bytes than
            the message announces.
    """
    channels = _CHANNELS.get(message.encoding)
    if channels is None:
        return _rgb_by_cv_bridge(message)
    height, width, step = message.height, message.width, message.step
    row = width * channels
    if not height or not width or step < row or len(message.data) < step * height:
        raise ConversionError(
            f"image of {width}x{height} {message.encoding} with step {step} "
            f"cannot have {len(message.data)} bytes"
        )
    rows = np.frombuffer(message.data, dtype=np.uint8, count=step * height).reshape(height, step)
    pixels = rows[:, :row].reshape(height, width, channels)
    if message.encoding == "rgb8":
        pixels.flags.writeable = False
        return pixels
    return np.asarray(cv2.cvtColor(pixels, _TO_RGB[message.encoding]), dtype=np.uint8)


def rgb_from_compressed(message: Any) -> Rgb:
    """The pixels of a sensor_msgs/CompressedImage (jpeg or png), uint8 (H, W, 3) RGB.

    Raises:
        ConversionError: The bytes are no such image, or announce more than `MAX_PIXELS` pixels.
    """
    data = np.frombuffer(message.data, dtype=np.uint8)
    header = JpegHeader.of(message.data)
    if header is not None and header.height * header.width > MAX_PIXELS:
        raise ConversionError(
            f"a jpeg of {header.width}x{header.height} pixels: at most {MAX_PIXELS} are decoded"
        )
    bgr = _decoded(data)
    if bgr is None:
        raise ConversionError(
            f"compressed image with format '{message.format}' and {data.size} bytes is no jpeg/png"
        )
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _decoded(data: Rgb) -> Any | None:
    try:
        return cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:  # for example a header that announces more pixels than OpenCV allows
        return None


def resized(pixels: Rgb, stream: VideoStream) -> Rgb:
    """The picture at the size that the contract asks for, by area averaging when shrinking."""
    if stream.width is None or stream.height is None:
        return pixels
    if pixels.shape[:2] == (stream.height, stream.width):
        return pixels
    size = (stream.width, stream.height)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _rgb_by_cv_bridge(message: Any) -> Rgb:
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except ImportError as error:
        raise ConversionError(
            f"image encoding '{message.encoding}' is none of {', '.join(_CHANNELS)}, "
            "and cv_bridge, which may know it, is not installed (ros-<distro>-cv-bridge)"
        ) from error
    try:
        return np.asarray(CvBridge().imgmsg_to_cv2(message, "rgb8"), dtype=np.uint8)
    except CvBridgeError as error:
        raise ConversionError(f"image encoding '{message.encoding}': {error}") from error
