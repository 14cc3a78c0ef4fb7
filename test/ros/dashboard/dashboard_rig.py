# SPDX-License-Identifier: Apache-2.0
"""What the tests of the dashboard share: a page without a browser, and a camera that moves."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from nodes_for_tests import Operator, Robot
from policies_for_tests import EchoPolicy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

WIDTH, HEIGHT = 32, 24
CAMERA_TOPIC = "front/image_raw"


class MovingCamera:
    """Publishes at 50 Hz, each image brighter than the one before."""

    def __init__(self, peer: Node) -> None:
        self._peer = peer
        self._publisher = peer.create_publisher(Image, CAMERA_TOPIC, qos_profile_sensor_data)
        self._brightness = 0
        peer.create_timer(0.02, self._publish)

    def _publish(self) -> None:
        self._brightness = (self._brightness + 1) % 256
        pixels = np.full((HEIGHT, WIDTH, 3), self._brightness, np.uint8)
        image = Image(height=HEIGHT, width=WIDTH, step=3 * WIDTH, encoding="rgb8")
        image.data = pixels.tobytes()
        image.header.stamp = self._peer.get_clock().now().to_msg()
        self._publisher.publish(image)


@dataclass(frozen=True, slots=True)
class Response:
    """What the server has answered."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardRig:
    """A dashboard, and the robot that it shows."""

    server: Any
    policy: EchoPolicy
    operator: Operator
    robot: Robot
    camera: MovingCamera

    @property
    def live_url(self) -> str:
        return f"{self.server.url.replace('http', 'ws', 1)}live"

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Response:
        """Ask the server; a relative path is below the token."""
        return self.request_text(
            method, path, None if body is None else json.dumps(body), headers=headers
        )

    def request_text(
        self,
        method: str,
        path: str,
        content: str | None,
        *,
        headers: dict[str, str] | None = None,
    ) -> Response:
        """Ask the server with a body as it is."""
        address = urlsplit(self.server.url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60.0)
        full = path if path.startswith("/") else f"{address.path}{path}"
        sent = {"content-type": "application/json", **(headers or {})}
        try:
            connection.request(method, full, content, sent)
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Response(response.status, fields, response.read())
        finally:
            connection.close()

    def command(self, name: str, text: str = "") -> dict[str, Any]:
        response = self.request("POST", f"commands/{name}", {"text": text})
        assert response.status == 200, response
        return json.loads(response.body)

    def subscriptions_of_the_camera(self) -> list[str]:
        """The names of the dashboards that receive images."""
        infos = self.operator._peer.get_subscriptions_info_by_topic(f"/{CAMERA_TOPIC}")
        return [info.node_name for info in infos if info.node_name.startswith("dashboard")]


def wait_for(
    socket: Any, kind: str, predicate: Callable[[Any], object] = lambda message: True
) -> Any:
    """The first message of a kind that is as wanted; `picture` is the kind of the pictures."""
    while True:
        data = socket.recv(timeout=60.0)
        if isinstance(data, bytes):
            if kind == "picture" and predicate(data):
                return data
            continue
        content = json.loads(data)
        if content["kind"] == kind and predicate(content["message"]):
            return content["message"]
