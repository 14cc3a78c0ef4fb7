# SPDX-License-Identifier: Apache-2.0
"""The forecasts of the motion, which whole trajectories are made of. Pure."""

from __future__ import annotations

from gr00t_policy_core.control.stop_watch import MissedStop
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

        Call it after the tick, run the forecast, then call `finish`.

        Args:
            now_ns: The time of the tick, ns.
        """
        with self._motion.lock:
            player, failure = self._motion.look_ahead_player, self._motion.failure
            if player is None or self._motion.is_shadow:
                return None
            if failure is None:
                return player.take_forecast()
            return failure.take_forecast(now_ns, self._period_ns)

    def take_missed_stop(self) -> MissedStop | None:
        """Return a stop that controllers have missed, whose trajectory is to be sent; told once."""
        with self._motion.lock:
            player = self._motion.look_ahead_player
            return player.take_missed_stop() if player is not None else None

    def finish(self, forecast: Forecast, trajectory: Trajectory, now_ns: int) -> Trajectory | None:
        """Go on from the trajectory of a forecast, or plan again where it came too late.

        Args:
            forecast: The forecast.
            trajectory: What it has made.
            now_ns: The current time on the clock of the observation stamps, ns.

        Returns:
            The trajectory to send at once. Another one, or none, where a stop or a failure has come
            meanwhile, or where the robot would have to jump.
        """
        with self._motion.lock:
            player, failure = self._motion.look_ahead_player, self._motion.failure
            if player is None:
                return None
            if failure is not None:
                return failure.finish(forecast, trajectory, now_ns)
            if not player.awaits(forecast):
                return None
            if player.is_too_late(trajectory, now_ns):
                return player.retry(forecast, now_ns)
            player.finish_forecast(forecast, trajectory)
            return trajectory

    def fail(self, forecast: Forecast | None) -> None:
        """Come to rest, since a forecast cannot be made or sent; call it where that is handled.

        If it was the way to rest after a failure, that is given up, and the robot comes to rest at
        the end of the trajectory before.

        Args:
            forecast: The forecast; None for one that could not be taken.
        """
        with self._motion.lock:
            failure = self._motion.failure
            if failure is None:
                self._motion.fail("a trajectory cannot be forecast or sent")
            else:
                failure.give_up(forecast)

    def brake_at_once(self, now_ns: int) -> Trajectory | None:
        """Return a way to rest from where the robot is sent, by its largest accelerations.

        Args:
            now_ns: The current time on the clock of the observation stamps, ns.

        Returns:
            The way; None where no trajectory moves the robot.
        """
        with self._motion.lock:
            player = self._motion.look_ahead_player
            brake = player.fallback_brake(now_ns) if player is not None else None
            if player is None or brake is None or self._motion.is_shadow:
                return None
            return brake.forecast(self._period_ns).run()
