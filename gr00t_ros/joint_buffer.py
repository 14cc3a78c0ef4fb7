# SPDX-License-Identifier: Apache-2.0
"""The joints of one state out of the messages of any number of publishers. Pure.

An arm's driver and a gripper's may both publish on /joint_states, each a part of the joints. So
each joint has samples, an age and a rate of its own; a state is as old as its oldest joint, and
comes as often as its slowest.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.control.samples import Sample, SampleBuffer
from gr00t_ros.contract import StateStream, VideoStream
from gr00t_ros.conversions import ConversionError

NAMES_KEPT = 200  # of joints that came, for a message; no robot has more

Values = NDArray[np.float64]


class JointBuffer:
    """The newest samples of some joints, merged by name; safe between threads.

    It has the methods of a `SampleBuffer`; what it gives are merged: float64 (D,), one value a
    joint, in the order of `joints`.

    Args:
        joints: Their names, in the policy's order.
        field: Of sensor_msgs/JointState: position, velocity or effort.
        span_ns: A joint's samples older than its newest by more than this are dropped, ns.
    """

    def __init__(self, joints: tuple[str, ...], field: str, *, span_ns: int) -> None:
        self.joints = joints
        self._field = field
        self._buffers: list[SampleBuffer[float]] = [SampleBuffer(span_ns=span_ns) for _ in joints]
        self._seen: dict[str, None] = {}  # names of joints that came, in their order; replaced
        # A driver may alternate between a few orders; few drivers do.
        self._places = lru_cache(maxsize=16)(self._find_places)

    def keep(self, span_ns: int) -> None:
        """Change how far back the samples reach from now on, ns."""
        for buffer in self._buffers:
            buffer.keep(span_ns)

    def add(self, stamp_ns: int, message: Any, *, received_ns: int) -> None:
        """Keep what a message has of the joints; one that has nothing of them is no news.

        Args:
            stamp_ns: When it was measured, ns.
            message: A sensor_msgs/JointState. A field that it leaves empty it does not tell.
            received_ns: When it came in on a monotonic clock, ns.

        Raises:
            ConversionError: Another number of values than of names, or one that is not finite;
                nothing of the message is kept.
        """
        values = getattr(message, self._field)
        places = self._places(tuple(message.name))
        if not len(values) or not places:
            return
        if len(values) != len(message.name):
            raise ConversionError(
                f"{len(values)} values of {self._field} for {len(message.name)} joints"
            )
        found = [(joint, float(values[place])) for joint, place in places]
        wrong = {self.joints[joint]: v for joint, v in found if not np.isfinite(v)}
        if wrong:
            raise ConversionError(f"values of {self._field} that are not finite: {wrong}")
        for joint, value in found:
            self._buffers[joint].add(stamp_ns, value, received_ns=received_ns)

    def latest(self) -> Sample[Values] | None:
        """The newest values, stamped as the oldest of them; None while a joint is missing."""
        return _merged([buffer.latest() for buffer in self._buffers], min)

    def nearest(self, stamp_ns: int) -> Sample[Values] | None:
        """Each joint's value closest to a time, stamped as the one that is farthest from it."""
        samples = [buffer.nearest(stamp_ns) for buffer in self._buffers]
        return _merged(samples, lambda stamps: max(stamps, key=lambda s: abs(s - stamp_ns)))

    def rate_hz(self, now_ns: int) -> float:
        """How often the slowest joint came in lately, Hz; `now_ns` as for `SampleBuffer`."""
        return min(buffer.rate_hz(now_ns) for buffer in self._buffers)

    def drop_after(self, stamp_ns: int) -> None:
        """Forget samples with a later stamp."""
        for buffer in self._buffers:
            buffer.drop_after(stamp_ns)

    def clear(self) -> None:
        """Forget everything."""
        for buffer in self._buffers:
            buffer.clear()
        self._seen = {}
        self._places.cache_clear()

    def oldest_joint(self) -> str:
        """The joint whose newest sample is the oldest; of those that have one."""
        stamps = {
            joint: newest.stamp_ns
            for joint, buffer in zip(self.joints, self._buffers, strict=True)
            if (newest := buffer.latest()) is not None
        }
        return min(stamps, key=lambda joint: stamps[joint])

    def what_is_missing(self) -> str:
        """Why there are no values yet; empty where nothing has come at all."""
        missing = [
            joint
            for joint, buffer in zip(self.joints, self._buffers, strict=True)
            if buffer.latest() is None
        ]
        if not missing or not self._seen:
            return ""
        unnamed = [joint for joint in missing if joint not in self._seen]
        if unnamed:
            return f"no joint {unnamed}, those that came are {list(self._seen)}"
        return f"no {self._field} of {missing}, only their names"

    def _find_places(self, names: tuple[str, ...]) -> list[tuple[int, int]]:
        """Each of our joints in a message of these names: which it is, and where."""
        self._seen = dict.fromkeys((*self._seen, *names)[:NAMES_KEPT])
        return list(self._indices(names))

    def _indices(self, names: tuple[str, ...]) -> Iterator[tuple[int, int]]:
        for index, joint in enumerate(self.joints):
            if joint in names:
                yield index, names.index(joint)


Buffer: TypeAlias = SampleBuffer[Any] | JointBuffer


def buffer_for(stream: VideoStream | StateStream) -> Buffer:
    """The buffer that the messages of a stream go into."""
    span_ns = round(stream.max_age_s * 1e9)
    if isinstance(stream, StateStream) and stream.joints:
        return JointBuffer(stream.joints, stream.field, span_ns=span_ns)
    return SampleBuffer(span_ns=span_ns)


def _merged(samples: list[Sample[float] | None], stamp_of: Any) -> Sample[Values] | None:
    found = [sample for sample in samples if sample is not None]
    if len(found) < len(samples):
        return None
    values = np.array([sample.value for sample in found])
    return Sample(stamp_of([sample.stamp_ns for sample in found]), values)
