# SPDX-License-Identifier: Apache-2.0
"""How the robot comes to rest when the player that moved it has failed.

Nothing here needs the schedule, the limiters or Ruckig: two commands and the limits on acceleration
are all it takes. Every joint, pose and twist is slowed down along the way that it goes, by its
largest acceleration. The jerk is not limited.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from gr00t_policy_core.control.action_layout import ANGULAR, LINEAR, ActionLayout
from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.joint_limits import JointLimits


class FallbackBrake:
    """Brakes from the last command to a standstill.

    Args:
        layout: Says where the joints and bodies lie in the vectors.
        joints: Limits of joints, by their index in the vector.
        bodies: Limits of poses and twists, by their action key. What has no limits stops at once.
        period_s: Time between two commands, s.
        last: The last command, float64 (size,).
        before: The one before it; the same as `last` where there was none.
    """

    def __init__(
        self,
        layout: ActionLayout,
        joints: Mapping[int, JointLimits],
        bodies: Mapping[str, BodyLimits],
        *,
        period_s: float,
        last: Row,
        before: Row,
    ) -> None:
        self._layout = layout
        self._period_s = period_s
        self._vector = np.array(last)
        # As much as is commanded per tick: the way of a position, the value of a velocity.
        self._step = layout.offset(last, before)
        self._step[layout.is_velocity] = last[layout.is_velocity] * period_s
        self._groups = list(_groups(layout, joints, bodies))
        free = np.ones(layout.size, dtype=bool)
        for part, speed, _ in self._groups:
            free[part] = False
            step = float(np.linalg.norm(self._step[part]))
            self._step[part] *= min(1.0, speed * period_s / step) if step else 0.0
        self._step[free] = 0.0

    @property
    def is_at_rest(self) -> bool:
        """Whether the robot stands still."""
        return not self._step.any()

    @property
    def braking_s(self) -> float:
        """How long it takes to come to rest from the last command on, s."""
        steps = (
            float(np.linalg.norm(self._step[part])) / (acceleration * self._period_s**2)
            for part, _, acceleration in self._groups
        )
        return math.ceil(max(steps, default=0.0)) * self._period_s

    def step(self) -> Row:
        """The command of the next tick, float64 (size,)."""
        for part, _, acceleration in self._groups:
            step = float(np.linalg.norm(self._step[part]))
            slower = max(0.0, step - acceleration * self._period_s**2)
            self._step[part] *= slower / step if step else 0.0
        is_velocity = self._layout.is_velocity
        way = np.where(is_velocity, 0.0, self._step)
        self._vector = self._layout.with_offset(self._vector, way)
        self._vector[is_velocity] = self._step[is_velocity] / self._period_s
        return np.array(self._vector)


def _groups(
    layout: ActionLayout, joints: Mapping[int, JointLimits], bodies: Mapping[str, BodyLimits]
) -> Iterator[tuple[slice, float, float]]:
    """The parts that are slowed down together, with their largest speed and acceleration."""
    for index, limits in joints.items():
        yield slice(index, index + 1), limits.velocity, limits.acceleration
    for key, body in bodies.items():
        start, stop = layout.slices[key].start, layout.slices[key].stop
        linear = slice(start, start + LINEAR.stop)
        yield linear, body.linear_velocity, body.linear_acceleration
        angular = slice(start + ANGULAR.start, stop)
        yield angular, body.angular_velocity, body.angular_acceleration
