# SPDX-License-Identifier: Apache-2.0
"""A gripper that only opens and closes: a threshold with hysteresis, and a hold time. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gr00t_ros.contract.parameter import Parameter, Settings

BINARY_PARAMETERS = (
    Parameter(
        "binary",
        False,
        "the gripper only opens and closes: a target above the threshold means closed_position, "
        "one below it open_position",
    ),
    Parameter("threshold", 0.0, "m or rad, after scale and offset; with binary", -1e3, 1e3),
    Parameter(
        "hysteresis",
        0.0,
        "m or rad, the target has to cross the threshold by half of it; with binary",
        0.0,
        1e3,
    ),
    Parameter("min_hold_s", 0.0, "s, shortest time open or closed; with binary", 0.0, 60.0),
    Parameter("open_position", 0.0, "m or rad, the goal that opens; with binary", -1e3, 1e3),
    Parameter("closed_position", 0.0, "m or rad, the goal that closes; with binary", -1e3, 1e3),
)


@dataclass(slots=True)
class BinaryGripper:
    """Turns targets into two positions.

    Args:
        threshold: A target above it closes, m or rad.
        hysteresis: The target has to cross the threshold by half of it, m or rad.
        min_hold_s: Shortest time between two changes, s.
        open_position, closed_position: The two positions, m or rad.

    Raises:
        ValueError: The two positions are the same.
    """

    threshold: float
    hysteresis: float
    min_hold_s: float
    open_position: float
    closed_position: float
    _is_closed: bool | None = None
    _changed_s: float = 0.0

    def __post_init__(self) -> None:
        if self.open_position == self.closed_position:
            raise ValueError(
                f"binary: open_position and closed_position are both {self.open_position:g}"
            )

    @classmethod
    def of(cls, settings: Settings) -> BinaryGripper | None:
        """Make it from the parameters of an action; None where the gripper is not binary.

        Raises:
            ValueError: The parameters contradict each other, or have no effect.
        """
        names = [parameter.name for parameter in BINARY_PARAMETERS[1:]]
        if settings["binary"]:
            return cls(**{name: float(settings[name]) for name in names})
        given = [name for name in names if settings[name]]
        if given:
            raise ValueError(f"{', '.join(given)}: no effect without binary: true")
        return None

    def position(self, target: float, now_s: float) -> float:
        """The position for a target.

        Args:
            target: What the policy wants, m or rad.
            now_s: The present on a monotonic clock, s.
        """
        wants_closed = target > self.threshold
        if self._is_closed is None or (
            wants_closed != self._is_closed and self._may_change(target, now_s)
        ):
            self._is_closed, self._changed_s = wants_closed, now_s
        return self.closed_position if self._is_closed else self.open_position

    def _may_change(self, target: float, now_s: float) -> bool:
        is_beyond = abs(target - self.threshold) >= 0.5 * self.hysteresis
        return is_beyond and now_s - self._changed_s >= self.min_hold_s
