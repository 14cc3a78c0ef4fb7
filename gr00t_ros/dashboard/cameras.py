# SPDX-License-Identifier: Apache-2.0
"""The pictures of the cameras as JPEG, a few a second, and none while nobody watches."""

from __future__ import annotations

import time
from typing import Any

import cv2
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from gr00t_ros.contract.streams import VideoStream
from gr00t_ros.dashboard.feed import Feed
from gr00t_ros.interfaces.image_decoding import Rgb, rgb_from_compressed, rgb_from_image
from gr00t_ros.interfaces.interface import ConversionError
from gr00t_ros.interfaces.jpeg_passthrough import JPEG_START
from gr00t_ros.interfaces.registry import ros_type
from gr00t_ros.node.qos import SENSOR

IMAGE_TYPES = {ros_type(message_type): message_type for message_type in (Image, CompressedImage)}
PICTURE_PERIOD_S = 0.2
LOOK_PERIOD_S = 0.2  # for pages that open and close, and for publishers
LARGEST_PX = 640  # the longer side of a picture
LARGEST_JPEG_BYTES = 200_000  # a JPEG that is larger is decoded and made smaller
QUALITY = 75


class Camera:
    """One camera of the contract.

    A picture is the number of the camera in one byte, and a JPEG.

    Args:
        node: Subscribes.
        stream: The camera.
        number: Its number on the page.
        feed: Gets the pictures, under the camera's name.
    """

    def __init__(self, node: Node, stream: VideoStream, number: int, feed: Feed) -> None:
        self._node = node
        self._stream = stream
        self._number = number
        self._feed = feed
        self._subscription: Subscription | None = None
        self._next_s = 0.0

    def look(self) -> None:
        """Subscribe when a page opens and the camera publishes; end it with the last page."""
        if not self._feed.is_watched:
            self.close()
        elif self._subscription is None:
            publishers = self._node.get_publishers_info_by_topic(self._stream.topic)
            found = [info.topic_type for info in publishers if info.topic_type in IMAGE_TYPES]
            if found:
                self._subscribe(IMAGE_TYPES[found[0]])

    def close(self) -> None:
        """End the subscription."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _subscribe(self, message_type: type[Any]) -> None:
        def receive(serialized: bytes) -> None:
            now_s = time.monotonic()
            if now_s < self._next_s:
                return
            self._next_s = now_s + PICTURE_PERIOD_S
            self._show(deserialize_message(serialized, message_type))

        # Raw, since most images are dropped: reading one costs more than receiving it.
        self._subscription = self._node.create_subscription(
            message_type, self._stream.topic, receive, SENSOR, raw=True
        )

    def _show(self, message: Any) -> None:
        try:
            picture = jpeg_of(message, self._stream.encoding)
        except ConversionError as error:
            self._node.get_logger().warning(
                f"{self._stream.name}: {error}", throttle_duration_sec=10.0
            )
            return
        self._feed.publish(self._stream.name, bytes([self._number]) + picture)


class Cameras:
    """All cameras of a contract.

    Args:
        node: Subscribes.
        streams: The cameras, at most 256.
        feed: Gets the pictures.
    """

    def __init__(self, node: Node, streams: tuple[VideoStream, ...], feed: Feed) -> None:
        self._cameras = [Camera(node, s, number, feed) for number, s in enumerate(streams)]
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(LOOK_PERIOD_S, self._look, clock=steady)

    def _look(self) -> None:
        for camera in self._cameras:
            camera.look()


def jpeg_of(message: Any, encoding: str | None) -> bytes:
    """The image of a message as a JPEG of at most `LARGEST_PX`.

    Args:
        message: A sensor_msgs/Image or CompressedImage.
        encoding: Replaces the encoding that a raw image names.

    Raises:
        ConversionError: The message holds no image that can be shown.
    """
    if hasattr(message, "format"):
        data = bytes(message.data)
        if data[:2] == JPEG_START and len(data) <= LARGEST_JPEG_BYTES:
            return data
        return _encoded(rgb_from_compressed(message))
    return _encoded(rgb_from_image(message, encoding))


def _encoded(pixels: Rgb) -> bytes:
    scale = LARGEST_PX / max(pixels.shape[:2])
    if scale < 1.0:
        height, width = (max(1, round(scale * size)) for size in pixels.shape[:2])
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    is_encoded, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not is_encoded:
        raise ConversionError(f"an image of shape {pixels.shape} cannot be encoded as JPEG")
    return bytes(data)
