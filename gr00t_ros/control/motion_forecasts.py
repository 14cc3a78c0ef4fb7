# SPDX-License-Identifier: Apache-2.0
"""The forecasts of the motion, which whole trajectories are made of. Pure."""

from __future__ import annotations

from gr00t_policy_core.control.trajectory import Forecast, Trajectory
from gr00t_ros.control.current_motion import CurrentMotion


class MotionForecasts:
    """Makes forecasts while trajectories are sent, and goes on from those that were sent.

    Safe between threads: the control loop takes a forecast, another thread runs and sends it.

    Args:
        motion: The motion that is forecast.
        control_rate_hz: Ticks per second, Hz.
    """

    def __init__(self, motion: CurrentMotion, control_rate_hz: float) -> None:
        self._motion = motion
        self._period_ns = round(1e9 / control_rate_hz)

    def take(self, now_ns: int) -> Forecast | None:
        """Return a forecast where the path has departed from the trajectory that was sent last.

        Call it after the tick, run it, and send the trajectory if it is still awaited, then call
        `finish`; or call `retry` where it came too late.

        Args:
            now_ns: The time of the tick, ns.
        """
        with self._motion.lock:
            player, command = self._motion.look_ahead_player, self._motion.command
            failure = self._motion.failure
            if player is None or self._motion.is_shadow:
                return None
            if failure is None:
                return player.take_forecast()
            if command is None:
                return None
            return failure.take_forecast(command, player.layout, now_ns, self._period_ns)

    def awaits(self, forecast: Forecast) -> bool:
        """Whether a forecast is still to be sent: no stop and no failure has come meanwhile."""
        with self._motion.lock:
            player, failure = self._motion.look_ahead_player, self._motion.failure
            if failure is not None:
                return failure.awaits(forecast)
            return player is not None and player.awaits(forecast)

    def would_step(self, trajectory: Trajectory, now_ns: int) -> bool:
        """Whether the robot would jump if a path were sent now, ns, because it is late."""
        with self._motion.lock:
            player = self._motion.look_ahead_player
            return player is not None and player.would_step(trajectory, now_ns)

    def finish(self, forecast: Forecast, trajectory: Trajectory) -> None:
        """Go on from a trajectory that was sent."""
        with self._motion.lock:
            player = self._motion.look_ahead_player
            if player is not None:
                player.finish_forecast(forecast, trajectory)

    def retry(self, forecast: Forecast, now_ns: int) -> None:
        """Plan again from the present, because a forecast came too late.

        Args:
            forecast: The forecast; one that is awaited no more changes nothing.
            now_ns: The current time on the clock of the observation stamps, ns.
        """
        with self._motion.lock:
            player = self._motion.look_ahead_player
            if player is not None:
                player.retry(forecast, now_ns)
