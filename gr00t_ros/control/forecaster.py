# SPDX-License-Identifier: Apache-2.0
"""Runs forecasts and sends their trajectories, in a thread beside the control loop."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue

from rclpy.clock import Clock

from gr00t_policy_core.control.trajectory import Forecast, Trajectory
from gr00t_ros.control.command_topics import CommandTopics
from gr00t_ros.control.motion_control import MotionControl
from gr00t_ros.msg import LatencyStatistics
from gr00t_ros.node.latency_window import LatencyWindow

WINDOW = 1000  # forecasts whose times are kept, at most
JOIN_S = 5.0


class Forecaster:
    """Turns forecasts into trajectories that are sent; one is under way at a time.

    Args:
        motion: Makes the forecasts, and learns what was sent.
        output: Sends the trajectories.
        clock: The clock of the trajectories.
    """

    def __init__(self, motion: MotionControl, output: CommandTopics, clock: Clock) -> None:
        self._motion = motion
        self._output = output
        self._clock = clock
        self._times = LatencyWindow(WINDOW)
        self._late = 0
        self._queue: SimpleQueue[Forecast | Trajectory | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="forecasts", daemon=True)
        self._thread.start()

    @property
    def late(self) -> int:
        """Trajectories that were ready after the robot should have departed from the one before."""
        return self._late

    def times(self) -> LatencyStatistics:
        """How long forecasts of the last minute took."""
        return self._times.statistics()

    def start(self, now_ns: int) -> None:
        """Run a forecast and send its trajectory, if one is due at this tick. Never raises.

        Args:
            now_ns: The time of the tick, ns.
        """
        try:
            forecast = self._motion.forecasts.take(now_ns)
        except Exception:  # what is streamed must brake all the same
            self._motion.forecasts.fail(None)
            return
        if forecast is not None:
            self._queue.put(forecast)

    def send(self, trajectory: Trajectory) -> None:
        """Send a trajectory that counts as sent, after those that are under way."""
        self._queue.put(trajectory)

    def end(self) -> None:
        """End the thread once the last trajectory is sent."""
        self._queue.put(None)
        self._thread.join(JOIN_S)

    def _run(self) -> None:
        while (queued := self._queue.get()) is not None:
            if isinstance(queued, Forecast):
                self._send_forecast(queued)
            else:
                self._send_at_once(queued)

    def _send_at_once(self, trajectory: Trajectory) -> None:
        try:
            self._output.send_trajectory(trajectory)
        except Exception:  # the robot must come to rest, whatever it is
            self._motion.fail("a trajectory cannot be sent")

    def _send_forecast(self, forecast: Forecast) -> None:
        try:
            self._run_and_send(forecast)
        except Exception:  # the robot must come to rest, whatever it is
            self._motion.forecasts.fail(forecast)

    def _run_and_send(self, forecast: Forecast) -> None:
        begun_s = time.monotonic()
        trajectory = forecast.run()
        if trajectory is None:
            return  # a stop has come meanwhile, and has a forecast of its own
        now_ns = int(self._clock.now().nanoseconds)
        self._late += now_ns > forecast.departure_ns
        to_send = self._motion.forecasts.finish(forecast, trajectory, now_ns)
        if to_send is not None:
            self._output.send_trajectory(to_send)
        self._times.add(time.monotonic() - begun_s)
