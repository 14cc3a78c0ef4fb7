# SPDX-License-Identifier: Apache-2.0
"""A camera's JPEG goes to the server as it came, over real DDS and real sockets; else as pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import cv2
import numpy as np
import pytest
from helpers import wait_until
from nodes_for_tests import MakeNode, Operator, Robot
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from policies_for_tests import EchoPolicy
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage

from gr00t_policy_core import PolicyServer
from gr00t_policy_core.serving.server.control_endpoints import ControlEndpoints
from gr00t_policy_core.serving.wire import jpeg
from gr00t_ros.interfaces.image_decoding import rgb_from_compressed

simplejpeg = pytest.importorskip("simplejpeg", reason="pip install '.[jpeg]'")


class Camera:
    """Publishes CompressedImage at about 50 Hz, another picture each time."""

    def __init__(self, peer: Node, suffix: str = ".jpg", size: tuple[int, int] = (48, 64)) -> None:
        self._peer = peer
        self._suffix = suffix
        self._size = size
        self._generator = np.random.default_rng(0)
        self.published: list[bytes] = []
        self._publisher = peer.create_publisher(CompressedImage, "front/image_raw", 5)
        peer.create_timer(0.02, self._publish)

    def _publish(self) -> None:
        pixels = self._generator.integers(0, 256, (*self._size, 3), dtype=np.uint8)
        done, data = cv2.imencode(self._suffix, cv2.blur(pixels, (9, 9)))
        assert done
        message = CompressedImage(format="rgb8; jpeg compressed bgr8", data=data.tobytes())
        message.header.stamp = self._peer.get_clock().now().to_msg()
        self.published.append(data.tobytes())
        self._publisher.publish(message)


class Arrived:
    """What reaches the decoder of a server, and what its policy then sees."""

    def __init__(self, policy: EchoPolicy) -> None:
        self._policy = policy
        self.videos: list[Any] = []

    @property
    def pixels(self) -> list[NDArray[np.uint8]]:
        return [o["video"]["front"] for o in self._policy.observations]

    @property
    def frames(self) -> list[list[bytes]]:
        """Of each observation; empty where the video came as pixels."""
        return [v["frames"] if isinstance(v, dict) else [] for v in self.videos]


Serve = Callable[..., Arrived]


@pytest.fixture
def serve(
    make_client_node: MakeNode, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Serve]:
    """Serves a policy to a started node, and waits for its first observations."""
    decode = jpeg.from_jpeg
    with ExitStack() as stack:

        def start(
            policy: EchoPolicy | None = None,
            **changes: Any,
        ) -> Arrived:
            policy = policy or EchoPolicy()
            arrived = Arrived(policy)

            def watched(observation: Any, *limits: Any) -> Any:
                arrived.videos.append(observation["video"]["front"])
                return decode(observation, *limits)

            monkeypatch.setattr(jpeg, "from_jpeg", watched)
            server = stack.enter_context(PolicyServer(policy, host="127.0.0.1", port=0))
            make_client_node(
                policy__port=server.port, **{"policy__image_encoding": "jpeg", **changes}
            )
            assert operator.trigger("start").success
            wait_until(lambda: len(policy.observations) > 2, what="observations")
            return arrived

        yield start


@pytest.fixture
def joints(ros_node: Node) -> Robot:
    return Robot(ros_node, camera=False)


def decoded(data: bytes) -> NDArray[np.uint8]:
    return rgb_from_compressed(CompressedImage(format="jpeg", data=data))


def test_the_very_bytes_of_the_camera_arrive_and_their_pixels(
    ros_node: Node, joints: Robot, serve: Serve
) -> None:
    camera = Camera(ros_node)
    arrived = serve()
    for (frame,), pixels in zip(arrived.frames, arrived.pixels, strict=False):
        assert frame in camera.published
        assert pixels.shape == (1, 1, 48, 64, 3)
        assert_array_equal(pixels[0, 0], simplejpeg.decode_jpeg(frame))
        assert_array_equal(pixels[0, 0], decoded(frame))  # as the node would have decoded it


def test_every_picture_of_the_history_arrives_as_it_was_published(
    ros_node: Node, joints: Robot, serve: Serve
) -> None:
    camera = Camera(ros_node)
    arrived = serve(EchoPolicy(video_delta_indices=(-4, -2, 0)))
    # A camera that is held up by other work has one picture for two times of the history.
    wait_until(
        lambda: any(len(set(frames)) == 3 for frames in arrived.frames), 15.0, "three pictures"
    )
    different: set[int] = set()
    for frames, pixels in zip(arrived.frames, arrived.pixels, strict=False):
        at = [camera.published.index(frame) for frame in frames]
        assert at == sorted(at)
        assert len(at) == 3
        different.add(len(set(at)))  # where one came late, its neighbour is the nearest twice
        assert_array_equal(pixels[0], [simplejpeg.decode_jpeg(frame) for frame in frames])
    assert 3 in different


def test_a_server_that_takes_no_jpeg_gets_what_the_node_decodes(
    ros_node: Node,
    joints: Robot,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    ping = ControlEndpoints._ping

    def ping_without_capabilities(*arguments: Any) -> dict[str, Any]:
        return {k: v for k, v in ping(*arguments).items() if k != "capabilities"}

    monkeypatch.setattr(ControlEndpoints, "_ping", ping_without_capabilities)
    camera = Camera(ros_node)
    arrived = serve()
    assert arrived.frames[0] == []
    expected = [decoded(data) for data in camera.published]
    for pixels in arrived.pixels:
        assert any((pixels[0, 0] == one).all() for one in expected)
    assert capfd.readouterr().err.count("the policy accepts only raw pixels") == 1


def test_without_being_asked_for_a_camera_s_jpeg_is_decoded_here(
    ros_node: Node, joints: Robot, serve: Serve
) -> None:
    Camera(ros_node)
    arrived = serve(policy__image_encoding="raw")
    assert arrived.frames[0] == []


def test_a_picture_that_the_node_has_to_resize_is_a_new_jpeg(
    ros_node: Node, joints: Robot, serve: Serve
) -> None:
    camera = Camera(ros_node)
    arrived = serve(video__front__width=32, video__front__height=24)
    assert arrived.pixels[0].shape == (1, 1, 24, 32, 3)
    assert len(arrived.frames[0]) == 1
    assert arrived.frames[0][0] not in camera.published


def test_a_png_is_decoded_here(ros_node: Node, joints: Robot, serve: Serve) -> None:
    camera = Camera(ros_node, ".png")
    arrived = serve()
    assert arrived.pixels[0].shape == (1, 1, 48, 64, 3)
    assert simplejpeg.is_jpeg(arrived.frames[0][0])
    assert arrived.frames[0][0] not in camera.published


def test_pictures_travel_at_the_policys_size_where_it_says_so(
    ros_node: Node, joints: Robot, serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    policy = EchoPolicy()
    policy.capabilities = ("resize:area:32",)
    Camera(ros_node, ".png")
    arrived = serve(policy, policy__image_encoding="raw", policy__resize=True)
    assert arrived.pixels[0].shape == (1, 1, 32, 32, 3)
    assert "policy.resize" not in capfd.readouterr().err


def test_a_policy_that_does_not_say_its_size_is_told_of(
    ros_node: Node, joints: Robot, serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    Camera(ros_node, ".png")
    arrived = serve(policy__image_encoding="raw", policy__resize=True)
    assert arrived.pixels[0].shape == (1, 1, 48, 64, 3)
    assert capfd.readouterr().err.count("policy.resize is set, but") == 1
