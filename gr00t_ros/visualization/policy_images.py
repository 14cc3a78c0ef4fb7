# SPDX-License-Identifier: Apache-2.0
"""One camera's images as the policy gets them, published as JPEG while somebody looks."""

from __future__ import annotations

from typing import Any

import cv2
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage

from gr00t_policy_core.resize import FirstResize, is_readable
from gr00t_ros.contract.streams import VideoStream
from gr00t_ros.interfaces.image_decoding import Rgb, image_reader
from gr00t_ros.interfaces.interface import ConversionError
from gr00t_ros.node.qos import SENSOR
from gr00t_ros.policy.streams import IMAGE_TYPES
from gr00t_ros.visualization.demanded_subscriptions import DemandedSubscriptions, Input

QUALITY = 90  # of the JPEG; the policy's own image is not compressed for it


class PolicyImages:
    """Publishes `policy_images/<camera>/compressed`.

    An image is decoded and resized only when it is published; others are replaced unread.

    Args:
        node: Owns the publisher and the subscription.
        stream: The camera of the contract.
        resize: What the policy does first with an image; None where it is not known.

    Attributes:
        resize: The same; it may become known later.
        problem: Why there is no image; empty where there is one.
    """

    def __init__(self, node: Node, stream: VideoStream, resize: FirstResize | None) -> None:
        self._node = node
        self._stream = stream
        self._read = image_reader(stream)
        self.resize = resize
        self._newest: Any = None
        self._subscriptions: DemandedSubscriptions | None = None
        self._publisher = node.create_publisher(
            CompressedImage, f"policy_images/{stream.key}/compressed", SENSOR
        )
        self.problem = ""

    @property
    def topic(self) -> str:
        """The full name of the published topic."""
        return str(self._publisher.topic_name)

    @property
    def is_demanded(self) -> bool:
        """Whether somebody subscribes to the published topic."""
        return self._publisher.get_subscription_count() > 0

    def demand(self, is_demanded: bool) -> None:
        """Subscribe to the camera, once its type is known, or end the subscription."""
        if not is_demanded:
            self._end()
        elif self._subscriptions is None:
            self._subscribe()

    def publish(self) -> None:
        """Publish the newest image, if one has arrived since the last time."""
        message, self._newest = self._newest, None
        if message is None:
            return
        try:
            pixels = self._seen(self._read(message))
        except ConversionError as error:
            self.problem = f"{self._stream.name}: {error}"
            return
        self.problem = ""
        _, encoded = cv2.imencode(
            ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        )
        self._publisher.publish(
            CompressedImage(header=message.header, format="jpeg", data=encoded.tobytes())
        )

    def destroy(self) -> None:
        """End the subscription and the publisher."""
        self._end()
        self._node.destroy_publisher(self._publisher)

    def _seen(self, pixels: Rgb) -> Rgb:
        if self.resize is None:
            return pixels
        if not is_readable(*pixels.shape[:2]):
            height, width = pixels.shape[:2]
            raise ConversionError(f"an image of {width}x{height} pixels is rejected by policies")
        return self.resize(pixels)

    def _subscribe(self) -> None:
        topic = self._stream.topic
        infos = self._node.get_publishers_info_by_topic(topic)
        published = sorted({info.topic_type for info in infos})
        fitting = [IMAGE_TYPES[name] for name in published if name in IMAGE_TYPES]
        if not fitting:
            carries = f"{topic} carries {', '.join(published)}" if published else ""
            self.problem = f"{self._stream.name}: {carries or f'nobody publishes {topic}'}"
            return
        self.problem = f"{self._stream.name}: nothing received on {topic} yet"
        camera = Input(fitting[0], topic, self._receive, SENSOR)
        self._subscriptions = DemandedSubscriptions(self._node, [camera])
        self._subscriptions.demand(True)

    def _receive(self, message: Any) -> None:
        self._newest = message

    def _end(self) -> None:
        if self._subscriptions is not None:
            self._subscriptions.destroy()
        self._subscriptions = self._newest = None
        self.problem = ""
