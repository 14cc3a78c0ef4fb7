# SPDX-License-Identifier: Apache-2.0
"""A double of tf2_ros for machines without it, written from its documentation.

It has what `TransformBuffer` uses: a buffer that interpolates between the stamps of transforms and
extrapolates never, and a listener. Its listener takes geometry_msgs/TransformStamped, because
tf2_msgs is missing, too. Where tf2_ros is installed, the tests use the real one.
"""

from __future__ import annotations

import importlib.util
import sys
from bisect import bisect_left
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time

from gr00t_policy_core import rotation
from gr00t_ros.interfaces.end_effector_frames import with_tool

IS_REAL = importlib.util.find_spec("tf2_ros") is not None
STATIC_QOS = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class TransformException(Exception):  # noqa: N818 - the name in tf2_ros
    """No such transform."""


class Buffer:
    """The transforms of a tree of frames; each child has one parent."""

    def __init__(self, cache_time: Duration) -> None:
        self._cache_ns = cache_time.nanoseconds
        self._parents: dict[str, str] = {}
        self._static: dict[str, np.ndarray] = {}
        self._moving: dict[str, list[tuple[int, np.ndarray]]] = {}

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        child = transform.child_frame_id
        self._parents[child] = transform.header.frame_id
        samples = self._moving.setdefault(child, [])
        samples.append((Time.from_msg(transform.header.stamp).nanoseconds, _pose(transform)))
        samples.sort(key=lambda sample: sample[0])
        while samples[-1][0] - samples[0][0] > self._cache_ns:
            samples.pop(0)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        self._parents[transform.child_frame_id] = transform.header.frame_id
        self._static[transform.child_frame_id] = _pose(transform)

    def clear(self) -> None:
        self._moving.clear()

    def get_latest_common_time(self, target: str, source: str) -> Time:
        moving = [self._moving[c][-1][0] for c in self._chain(target, source) if c in self._moving]
        return Time(nanoseconds=min(moving, default=0))

    def lookup_transform(self, target: str, source: str, time: Time) -> TransformStamped:
        pose = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
        for child in reversed(self._chain(target, source)):
            pose = with_tool(pose, tuple(self._at(child, time.nanoseconds)))
        return transform(target, source, time.nanoseconds, pose)

    def _chain(self, target: str, source: str) -> list[str]:
        chain, frame = [], source
        while frame != target:
            if frame not in self._parents:
                raise TransformException(f'"{source}" and "{target}" are not connected')
            chain.append(frame)
            frame = self._parents[frame]
        return chain

    def _at(self, child: str, at_ns: int) -> np.ndarray:
        if child in self._static:
            return self._static[child]
        samples = self._moving.get(child)
        if not samples:
            raise TransformException(f'"{child}" is not connected')
        stamps = [stamp for stamp, _ in samples]
        for bound, is_beyond, where in (
            (stamps[0], at_ns < stamps[0], "past"),
            (stamps[-1], at_ns > stamps[-1], "future"),
        ):
            if is_beyond:
                raise TransformException(
                    f"Lookup would require extrapolation into the {where}. Requested time "
                    f"{at_ns * 1e-9} but the data ends at {bound * 1e-9}"
                )
        after = bisect_left(stamps, at_ns)
        (t0, a), (t1, b) = samples[max(after - 1, 0)], samples[after]
        share = (at_ns - t0) / (t1 - t0) if t1 > t0 else 1.0
        way = rotation.quaternion_product(a[3:] * [-1.0, -1.0, -1.0, 1.0], b[3:])
        part = rotation.quaternion_from_rotvec(share * rotation.rotvec_from_quaternion(way))
        turned = rotation.quaternion_product(a[3:], part)
        return np.concatenate([a[:3] + share * (b[:3] - a[:3]), turned])


class TransformListener:
    """Hands the transforms of /tf and /tf_static to a buffer."""

    def __init__(self, buffer: Any, node: Node) -> None:
        self.tf_sub = node.create_subscription(
            TransformStamped, "/tf", lambda m: buffer.set_transform(m, "test"), 100
        )
        self.tf_static_sub = node.create_subscription(
            TransformStamped,
            "/tf_static",
            lambda m: buffer.set_transform_static(m, "test"),
            STATIC_QOS,
        )


class TransformPublisher:
    """Publishes transforms as the listener of this machine takes them."""

    def __init__(self, node: Node) -> None:
        if IS_REAL:
            from tf2_msgs.msg import TFMessage

            self._message: Any = lambda one: TFMessage(transforms=[one])
            kind: Any = TFMessage
        else:
            self._message, kind = (lambda one: one), TransformStamped
        self.moving = node.create_publisher(kind, "/tf", 100)
        self._static = node.create_publisher(kind, "/tf_static", STATIC_QOS)

    def send(self, one: TransformStamped, *, is_static: bool = False) -> None:
        (self._static if is_static else self.moving).publish(self._message(one))


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import tf2_ros as this module for the time of a test, unless the real one is there."""
    if not IS_REAL:
        monkeypatch.setitem(sys.modules, "tf2_ros", sys.modules[__name__])


def transform(parent: str, child: str, stamp_ns: int, pose: np.ndarray) -> TransformStamped:
    """A transform of a pose, float64 (7,): x y z and a quaternion x y z w."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
    p, q = message.transform.translation, message.transform.rotation
    p.x, p.y, p.z, q.x, q.y, q.z, q.w = pose.tolist()
    return message


def _pose(message: TransformStamped) -> np.ndarray:
    p, q = message.transform.translation, message.transform.rotation
    return np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w])
