# SPDX-License-Identifier: Apache-2.0
"""The joints of one state, merged from the messages of any number of publishers. Pure.

An arm's driver and a gripper's may both publish on /joint_states, each a part of the joints. So
each joint has samples, an age and a rate of its own. A state is as old as its oldest joint, and its
rate is that of its slowest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from gr00t_policy_core.control.samples import Sample, SampleBuffer
from gr00t_ros.interfaces.interface import ConversionError, Values
from gr00t_ros.interfaces.transform_buffer import TransformBuffer

NAMES_KEPT = 200  # received joint names that an error can list; no robot has more
MAX_PARTS = 16  # groups of joints that share messages; few robots have more than three


class JointBuffer:
    """The newest samples of some joints, merged by name; safe between threads.

    It has the methods of a `SampleBuffer`. Its samples are float64 (D,), one value for each joint,
    in the order of `joints`.

    Args:
        joints: Names of the joints, in the policy's order.
        field: The field of sensor_msgs/JointState to keep: position, velocity or effort.
        span_ns: Samples older than the newest of the same joints by more than this are dropped, ns.
    """

    def __init__(self, joints: tuple[str, ...], field: str, *, span_ns: int) -> None:
        self.joints = joints
        self._field = field
        self._span_ns = span_ns
        # By the indices of the joints that share messages. Replaced whole: other threads read it.
        self._parts: dict[tuple[int, ...], SampleBuffer[Values]] = {}
        self._seen: dict[str, None] = {}  # received names in order; replaced whole, too
        # A driver may alternate between a few orders of names.
        self._places = lru_cache(maxsize=16)(self._find_places)

    def keep(self, span_ns: int) -> None:
        """Change how far back the samples reach from now on, ns."""
        self._span_ns = span_ns
        for buffer in self._parts.values():
            buffer.keep(span_ns)

    def add(self, stamp_ns: int, message: Any, *, received_ns: int) -> None:
        """Keep the values of the joints in a message; a message without any of them is ignored.

        Args:
            stamp_ns: Time of the measurement, ns.
            message: A sensor_msgs/JointState, which may leave a field empty.
            received_ns: Time of the reception on a monotonic clock, ns.

        Raises:
            ConversionError: The message has more or fewer values than names, or a value that is not
                finite. No part of it is kept.
        """
        values = getattr(message, self._field)
        joints, places = self._places(tuple(message.name))
        if not len(values) or not joints:
            return
        if len(values) != len(message.name):
            raise ConversionError(
                f"{len(values)} values of {self._field} for {len(message.name)} joints"
            )
        taken = np.asarray(values, dtype=np.float64)[places]
        if not np.isfinite(taken).all():
            named = dict(zip([self.joints[j] for j in joints], taken.tolist(), strict=True))
            raise ConversionError(f"values of {self._field} that are not finite: {named}")
        if joints in self._parts or len(self._parts) < MAX_PARTS:
            self._part(joints).add(stamp_ns, taken, received_ns=received_ns)
            return
        for place, joint in enumerate(joints):  # a driver that sends only joints that moved
            self._part((joint,)).add(stamp_ns, taken[place : place + 1], received_ns=received_ns)

    def latest(self) -> Sample[Values] | None:
        """Return the newest values with the stamp of the oldest; None while a joint is missing."""
        return self._merged(SampleBuffer.latest, lambda stamp_ns: -stamp_ns)

    def nearest(self, stamp_ns: int) -> Sample[Values] | None:
        """Return each joint's value closest to a time, with the stamp of the farthest one."""
        return self._merged(
            lambda buffer: buffer.nearest(stamp_ns), lambda stamp: abs(stamp - stamp_ns)
        )

    def rate_hz(self, now_ns: int) -> float:
        """Return the recent rate of the slowest joint, Hz; `now_ns` as for `SampleBuffer`."""
        rates_hz = [0.0] * len(self.joints)
        for joints, buffer in self._parts.items():
            rate_hz = buffer.rate_hz(now_ns)
            for joint in joints:
                rates_hz[joint] += rate_hz
        return min(rates_hz)

    def drop_after(self, stamp_ns: int) -> None:
        """Forget samples with a later stamp."""
        for buffer in self._parts.values():
            buffer.drop_after(stamp_ns)

    def clear(self) -> None:
        """Forget everything."""
        self._parts, self._seen = {}, {}
        self._places.cache_clear()

    def oldest_joint(self) -> str:
        """Return the joint whose newest sample is the oldest, among those that have a sample."""
        stamps, _ = self._closest(SampleBuffer.latest, lambda stamp_ns: -stamp_ns)
        return self.joints[min(stamps, key=lambda joint: stamps[joint])]

    def what_is_missing(self) -> str:
        """Say why there are no values yet; empty if nothing has been received."""
        received, _ = self._closest(SampleBuffer.latest, lambda stamp_ns: -stamp_ns)
        missing = [joint for index, joint in enumerate(self.joints) if index not in received]
        if not missing or not self._seen:
            return ""
        unnamed = [joint for joint in missing if joint not in self._seen]
        if unnamed:
            return f"no joint {unnamed}, the messages have {list(self._seen)}"
        return f"no {self._field} of {missing}, only their names"

    def _part(self, joints: tuple[int, ...]) -> SampleBuffer[Values]:
        """Return the buffer of the joints that share messages as these do."""
        if joints not in self._parts:
            self._parts = {**self._parts, joints: SampleBuffer(span_ns=self._span_ns)}
        return self._parts[joints]

    def _find_places(self, names: tuple[str, ...]) -> tuple[tuple[int, ...], list[int]]:
        """Find the indices of our joints in a message of these names, and their places in it."""
        self._seen = dict.fromkeys((*self._seen, *names)[:NAMES_KEPT])
        joints = tuple(index for index, joint in enumerate(self.joints) if joint in names)
        return joints, [names.index(self.joints[index]) for index in joints]

    def _merged(
        self,
        sample_of: Callable[[SampleBuffer[Values]], Sample[Values] | None],
        distance: Callable[[int], int],
    ) -> Sample[Values] | None:
        stamps, values = self._closest(sample_of, distance)
        if len(stamps) < len(self.joints):
            return None
        return Sample(max(stamps.values(), key=distance), values)

    def _closest(
        self,
        sample_of: Callable[[SampleBuffer[Values]], Sample[Values] | None],
        distance: Callable[[int], int],
    ) -> tuple[dict[int, int], Values]:
        """The stamp of each received joint's closest sample, by joint index, and all values.

        Args:
            sample_of: Picks a sample from the buffer of a part.
            distance: How far a stamp is from the best one, ns.
        """
        stamps: dict[int, int] = {}
        values = np.zeros(len(self.joints))
        for joints, buffer in self._parts.items():
            sample = sample_of(buffer)
            if sample is None:
                continue
            for place, joint in enumerate(joints):
                held = stamps.get(joint)
                if held is None or distance(sample.stamp_ns) < distance(held):
                    stamps[joint], values[joint] = sample.stamp_ns, sample.value[place]
        return stamps, values


Buffer: TypeAlias = SampleBuffer[Any] | JointBuffer | TransformBuffer
