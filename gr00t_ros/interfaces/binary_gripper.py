# SPDX-License-Identifier: Apache-2.0
"""Grippers and hands that only open and close: threshold, hysteresis, hold time. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gr00t_policy_core.control.chunk import Row
from gr00t_ros.contract.conditions import JOINT_POSITIONS
from gr00t_ros.contract.parameter import ActionCondition, Parameter, Settings

BINARY = ActionCondition("binary: true", lambda command, _: command.binary is not None)
BINARY_PARAMETERS = (
    Parameter(
        "binary",
        False,
        "the gripper or hand only opens and closes: a target that is far enough from open_position "
        "towards closed_position becomes closed_position, any other open_position",
        only_with=JOINT_POSITIONS,
    ),
    Parameter(
        "threshold",
        0.5,
        "where closed begins on the way from open_position (0) to closed_position (1)",
        0.0,
        1.0,
        only_with=BINARY,
    ),
    Parameter(
        "hysteresis",
        0.0,
        "part of that way, the target has to cross the threshold by half of it",
        0.0,
        1.0,
        only_with=BINARY,
    ),
    Parameter("min_hold_s", 0.0, "s, shortest time open or closed", 0.0, 60.0, only_with=BINARY),
    Parameter("open_position", [0.0], "m or rad, open; 1 or D values", -1e3, 1e3, only_with=BINARY),
    Parameter(
        "closed_position", [0.0], "m or rad, closed; 1 or D values", -1e3, 1e3, only_with=BINARY
    ),
)
NOT_BINARY = {parameter.name: parameter.default for parameter in BINARY_PARAMETERS}


@dataclass(frozen=True, slots=True)
class Grip:
    """Open or closed, and since when: s on a clock of the caller's."""

    is_closed: bool
    since_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryGripper:
    """Turns the targets of a gripper or a hand into two positions.

    Args:
        threshold: Where closed begins, as a part of the way from open to closed.
        hysteresis: The target has to cross the threshold by half of it, a part of that way.
        min_hold_s: Shortest time between two changes, s.
        open_position, closed_position: The two positions, rad or m, one for each joint.

    Raises:
        ValueError: The two positions are the same.
    """

    threshold: float
    hysteresis: float
    min_hold_s: float
    open_position: tuple[float, ...]
    closed_position: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.open_position == self.closed_position:
            values = ", ".join(f"{value:g}" for value in self.open_position)
            raise ValueError(f"binary: open_position and closed_position are both {values}")

    @classmethod
    def of(cls, settings: Settings, joints: int) -> BinaryGripper | None:
        """Make it from the parameters of an action; None where the gripper is not binary.

        Args:
            settings: The value of each of `BINARY_PARAMETERS` by name.
            joints: D, the number of joints.

        Raises:
            ValueError: The two positions are the same, or have a wrong number of values.
        """
        settings = {**NOT_BINARY, **settings}
        if not settings["binary"]:
            return None
        return cls(
            threshold=float(settings["threshold"]),
            hysteresis=float(settings["hysteresis"]),
            min_hold_s=float(settings["min_hold_s"]),
            open_position=_positions("open_position", settings, joints),
            closed_position=_positions("closed_position", settings, joints),
        )

    def grip(self, target: Row, now_s: float, before: Grip | None) -> Grip:
        """Return whether the gripper is open or closed from now on.

        Args:
            target: What the policy wants, float64 (D,), rad or m.
            now_s: The present, s, on the clock of `before`.
            before: The grip so far; None at the start.
        """
        closure = self._closure(target)
        wants_closed = closure > self.threshold
        if before is None:
            return Grip(wants_closed, now_s)
        is_beyond = abs(closure - self.threshold) >= 0.5 * self.hysteresis
        has_held = now_s - before.since_s >= self.min_hold_s
        may_change = wants_closed != before.is_closed and is_beyond and has_held
        return Grip(wants_closed, now_s) if may_change else before

    def position(self, grip: Grip) -> Row:
        """Return the position of a grip, float64 (D,), rad or m."""
        return np.array(self.closed_position if grip.is_closed else self.open_position)

    def _closure(self, target: Row) -> float:
        """How far a target is on the way from open (0) to closed (1)."""
        way = np.subtract(self.closed_position, self.open_position)
        return float((target - self.open_position) @ way / (way @ way))


def _positions(name: str, settings: Settings, joints: int) -> tuple[float, ...]:
    value: Any = settings[name]
    values = tuple(map(float, value if isinstance(value, list) else [value]))
    if len(values) not in (1, joints):
        raise ValueError(f"{name} needs 1 or {joints} values, got {len(values)}")
    return values * joints if len(values) == 1 else values
