# SPDX-License-Identifier: Apache-2.0
"""The pose of one frame in another at any instant that tf has reached, from the buffer of tf2."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from gr00t_policy_core.control.samples import RATE_WINDOW, Sample, recent_rate_hz
from gr00t_ros.interfaces.interface import ConversionError, Values
from gr00t_ros.interfaces.stamps import ahead_text, stamp_ns

if TYPE_CHECKING:
    from geometry_msgs.msg import TransformStamped

CACHE_S = 30.0  # how far back transforms are kept: longer than the history of any policy
TF_TOPIC = "/tf"
WHY_MISSING = "tf2_ros is not installed: sudo apt install ros-$ROS_DISTRO-tf2-ros-py"


def require_tf2() -> None:
    """Require that the Python API of tf2 is there.

    Raises:
        ValueError: It is not; the text says what to install.
    """
    try:
        import tf2_ros  # noqa: F401
    except ImportError as error:
        raise ValueError(WHY_MISSING) from error


class TransformBuffer:
    """The pose of `tip` in `base` over time; it has the methods of a `SampleBuffer`.

    Every pose is looked up at the instant that it is asked for, and interpolated by tf2 between two
    transforms. An instant that tf has not reached, or that it has forgotten, has no pose: nothing
    is extrapolated. Samples are float64 (7,): x y z in m and a quaternion x y z w.

    Args:
        base: The frame in which the pose is expressed.
        tip: The frame whose pose it is.
    """

    def __init__(self, base: str, tip: str) -> None:
        import tf2_ros

        self._base, self._tip = base, tip
        self._tf = tf2_ros.Buffer(cache_time=Duration(seconds=CACHE_S))
        self._errors = tf2_ros.TransformException
        self._lock = threading.Lock()
        self._parents: dict[str, str] = {}
        self._newest_ns: dict[str, int] = {}  # of each frame that moves in its parent
        self._reached_ns: int | None = None
        self._receptions: deque[int] = deque(maxlen=RATE_WINDOW)
        self._on_progress: Callable[[], None] | None = None
        self._problem = ""

    def listen(
        self,
        node: Node,
        on_progress: Callable[[], None],
        *,
        skew_ns: int,
        on_ahead: Callable[[str], None],
    ) -> TransformFeed:
        """Receive the transforms of a ROS graph.

        Args:
            node: Subscribes to /tf and /tf_static.
            on_progress: Called when tf has reached a later instant, in the executor's thread.
            skew_ns: How far the pose may be ahead of the node's clock, ns.
            on_ahead: Called with the frames and the time of a transform that is left out, because
                it would take the pose further.
        """
        self._on_progress = on_progress
        return TransformFeed(self, node, skew_ns, on_ahead)

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Take a transform."""
        child = transform.child_frame_id
        self._parents[child] = transform.header.frame_id
        self._newest_ns[child] = max(self._newest_ns.get(child, 0), stamp_ns(transform, 0))
        self._tf.set_transform(transform, authority)
        self._note_progress()

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Take a transform that holds for ever."""
        self._parents[transform.child_frame_id] = transform.header.frame_id
        self._tf.set_transform_static(transform, authority)
        self._note_progress()

    def would_reach_ns(self, transform: TransformStamped) -> int:
        """The newest instant that the pose would have with a transform, ns; 0 if it has no part.

        A localisation stamps its transforms ahead on purpose: they are valid for some time. They
        may, as long as another transform between the frames says where the robot was measured.
        """
        child = transform.child_frame_id
        newest_ns = {**self._newest_ns, child: stamp_ns(transform, 0)}
        parents = {**self._parents, child: transform.header.frame_id}
        above_base, above_tip = _to_root(self._base, parents), _to_root(self._tip, parents)
        between = set(above_base) ^ set(above_tip)
        if above_base[-1] != above_tip[-1] or child not in between:
            return 0
        return min(newest_ns[frame] for frame in between if frame in newest_ns)

    # The methods of a buffer

    def keep(self, span_ns: int) -> None:
        """Require that poses are kept so long, ns.

        Raises:
            ValueError: It is longer than `CACHE_S`.
        """
        if span_ns > CACHE_S * 1e9:
            raise ValueError(
                f"source tf: the history needs {span_ns * 1e-9:.1f} s of transforms, "
                f"{CACHE_S:g} s are kept"
            )

    def add(self, stamp_ns: int, message: Any, *, received_ns: int) -> None:
        """Refuse a message: transforms come from `listen`."""
        raise ConversionError("source tf takes its transforms from tf2, not from messages")

    def latest(self) -> Sample[Values] | None:
        """The pose at the newest instant that every transform between the frames has reached."""
        try:
            reached = self._tf.get_latest_common_time(self._base, self._tip)
        except self._errors as error:
            self._problem = f"{self._tip} in {self._base}: {error}"
            return None
        return self.nearest(int(reached.nanoseconds))

    def nearest(self, stamp_ns: int) -> Sample[Values] | None:
        """The pose at an instant; None where tf has none, and `what_is_missing` says why."""
        try:
            found = self._tf.lookup_transform(self._base, self._tip, Time(nanoseconds=stamp_ns))
        except self._errors as error:
            self._problem = f"{self._tip} in {self._base}: {error}"
            return None
        p, q = found.transform.translation, found.transform.rotation
        return Sample(stamp_ns, np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w]))

    def rate_hz(self, now_ns: int) -> float:
        """How often tf has reached a later instant, Hz; `now_ns` as for `SampleBuffer`."""
        with self._lock:
            return recent_rate_hz(self._receptions, now_ns)

    def drop_after(self, stamp_ns: int) -> None:
        """Keep everything: tf2 is cleared where the clock is set back."""

    def clear(self) -> None:
        """Forget all transforms but the static ones, as tf2 does."""
        self._tf.clear()
        self._newest_ns.clear()
        with self._lock:
            self._reached_ns = None
            self._receptions.clear()

    def what_is_missing(self) -> str:
        """Say why the last pose that was asked for is not there, in the words of tf2."""
        return self._problem

    def _note_progress(self) -> None:
        """Note whether the newest transform has brought the frames to a later instant."""
        try:
            reached_ns = int(self._tf.get_latest_common_time(self._base, self._tip).nanoseconds)
        except self._errors:
            return
        with self._lock:
            if self._reached_ns is not None and reached_ns <= self._reached_ns:
                return
            self._reached_ns = reached_ns
            self._receptions.append(time.monotonic_ns())
        if self._on_progress is not None:
            self._on_progress()


def _to_root(frame: str, parents: Mapping[str, str]) -> list[str]:
    """The frame and the frames above it, up to the root."""
    found = [frame]
    while (above := parents.get(found[-1])) is not None and above not in found:
        found.append(above)
    return found


class TransformFeed:
    """The subscriptions of a `TransformBuffer`, which clears it where the clock is set back.

    Args:
        buffer: Takes the transforms.
        node: Subscribes; its clock says when a simulation or a bag begins again.
        skew_ns: How far the pose may be ahead of the clock, ns.
        on_ahead: Called with the frames and the time of a transform that is left out.
    """

    def __init__(
        self,
        buffer: TransformBuffer,
        node: Node,
        skew_ns: int,
        on_ahead: Callable[[str], None],
    ) -> None:
        import tf2_ros

        self._buffer = buffer
        self._node = node
        self._skew_ns = skew_ns
        self._on_ahead = on_ahead
        self._listener = tf2_ros.TransformListener(self, node)
        backward = JumpThreshold(
            min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True
        )
        self._jumps = node.get_clock().create_jump_callback(
            backward, post_callback=lambda _: buffer.clear()
        )

    # What tf2's listener calls

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Pass a transform on, unless the pose would be ahead of the clock with it."""
        now_ns = int(self._node.get_clock().now().nanoseconds)
        ahead = ahead_text(self._buffer.would_reach_ns(transform), now_ns, self._skew_ns)
        if ahead:
            frames = f"{transform.child_frame_id} in {transform.header.frame_id}"
            self._on_ahead(f"{frames}, {ahead}")
            return
        self._buffer.set_transform(transform, authority)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Pass on a transform that holds for ever."""
        self._buffer.set_transform_static(transform, authority)

    def destroy(self) -> None:
        """End the subscriptions."""
        self._jumps.unregister()
        self._node.destroy_subscription(self._listener.tf_sub)
        self._node.destroy_subscription(self._listener.tf_static_sub)
