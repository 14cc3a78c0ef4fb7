# SPDX-License-Identifier: Apache-2.0
"""One activation of the control node: commands at the control rate, and rest at its end."""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path

from rclpy.lifecycle import LifecycleNode
from rclpy.timer import Timer

from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.recording import MAX_EVENTS, write_events
from gr00t_ros.contract.contract import Contract
from gr00t_ros.control.command_topics import CommandTopics
from gr00t_ros.control.control_loop import ControlLoop
from gr00t_ros.control.forecaster import Forecaster
from gr00t_ros.control.motion_control import MotionControl
from gr00t_ros.control.robot_inputs import RobotInputs
from gr00t_ros.node.stop_signals import StopRequest

LONG_BRAKING_S = 1.0  # braking that takes longer is announced in the log
BRAKING_SLACK_S = 1.0  # for late ticks, beyond the time that braking needs by the limits
DOUBT_S = 2.0  # for the measurements that tell whether the robot comes to rest, after the braking
STUCK_S = 1.0  # a loop that has not ticked for this long is stuck


class Activation:
    """Ticks at the control rate and publishes the commands of the motion.

    The activation begins when it is constructed. With simulated time, which may run at any speed,
    pause and restart, a timer of rclpy makes it tick; otherwise a `ControlLoop` does.

    Args:
        node: Provides the clock and the logger.
        contract: Sets the control rate and the scheduling of the loop.
        motion: Computes the commands of each tick.
        inputs: Read the measurements of the robot while it comes to rest at the end.
        output: Publishes the commands of each tick.
        stop_request: Says whether the process should cut braking short.
    """

    def __init__(
        self,
        node: LifecycleNode,
        contract: Contract,
        motion: MotionControl,
        inputs: RobotInputs,
        output: CommandTopics,
        stop_request: StopRequest,
    ) -> None:
        self._node = node
        self._contract = contract
        self._motion = motion
        self._inputs = inputs
        self._output = output
        self._stop_request = stop_request
        self._period_s = 1.0 / contract.control_rate_hz
        self._has_logged_failure = False
        self._braked_again_s = 0.0  # when, on the monotonic clock
        self._forecaster = Forecaster(motion, output, node.get_clock())
        self._loop: ControlLoop | None = None
        self._sim_timer: Timer | None = None
        # All objects of this moment stay alive. To search them for garbage stops all threads for
        # 10 ms (50 000 objects, most of them rclpy's; measured), whenever Python decides to.
        gc.collect()
        gc.freeze()
        if node.get_parameter("use_sim_time").value:
            self._sim_timer = self._start_sim_timer()
        else:
            self._loop = self._start_loop()

    @property
    def loop(self) -> ControlLoop | None:
        """The control loop; None with simulated time."""
        return self._loop

    @property
    def is_dead(self) -> bool:
        """Whether the loop has ended by itself: the robot is no longer commanded."""
        return self._loop is not None and not self._loop.is_alive

    @property
    def is_stuck(self) -> bool:
        """Whether the loop should tick but does not."""
        return self._loop is not None and self._loop.silent_s > STUCK_S

    @property
    def forecaster(self) -> Forecaster:
        """Sends whole trajectories."""
        return self._forecaster

    def end(self) -> bool:
        """Bring the robot to rest; afterwards nothing is published and no chunk is kept.

        Returns:
            Whether a controller may still carry out a trajectory: braking was cut short, or the
            robot was not seen to rest.
        """
        motion = self._motion
        self._come_to_rest()
        is_in_doubt = self._is_stop_in_doubt
        if self._sim_timer is not None:
            self._node.destroy_timer(self._sim_timer)
        if self._loop is not None:
            self._loop.end()
        self._forecaster.end()
        is_sent_to_rest = not motion.is_at_rest and self._publish_standstill()
        self._output.cancel_goals(but_trajectories=is_sent_to_rest)
        gc.unfreeze()  # released objects can be collected again
        self._write_recording()
        motion.forget_chunks()
        return is_sent_to_rest or is_in_doubt

    def tick(self) -> None:
        """Publish the commands of one control period; whatever fails brings the robot to rest."""
        try:
            self._tick()
        except Exception:  # nothing may end the loop unbraked
            self._motion.fail("a tick of the control loop failed")

    def _tick(self) -> None:
        motion = self._motion
        now = self._node.get_clock().now()
        was_at_rest = motion.command is not None and motion.command.at_rest
        command = motion.tick(now.nanoseconds)
        self._brake_again_if_missed()
        self._forecaster.start(now.nanoseconds)
        if motion.failure and not self._has_logged_failure:
            self._has_logged_failure = True
            self._node.get_logger().error(motion.failure)
        if motion.is_shadow:
            self._output.forget_targets()
        if command is None or command.is_withheld or (was_at_rest and self._is_silent(command)):
            return
        self._output.publish(command.values, now)
        self._output.send_goals(command.targets)

    def _brake_again_if_missed(self) -> None:
        """Send another way to rest to controllers that go on although they were sent one."""
        missed = self._motion.forecasts.take_missed_stop()
        if missed is not None:
            keys = ", ".join(sorted(missed.keys))
            self._node.get_logger().error(
                f"{keys}: the robot still follows its previous trajectory after a stop; "
                "its controller is told to brake again, from where the robot is"
            )
            self._braked_again_s = time.monotonic()
            self._forecaster.send(missed.trajectory)

    def _is_silent(self, command: Command) -> bool:
        """Whether to leave a command at rest out; the first one is sent and ends a velocity."""
        return command.at_rest and self._contract.motion.on_starvation == "stop_publishing"

    def _start_loop(self) -> ControlLoop:
        return ControlLoop(
            self._contract.control_rate_hz,
            self.tick,
            realtime_priority=self._contract.motion.realtime_priority,
            cpu=self._contract.motion.cpu_affinity,
            warn=self._node.get_logger().warning,
        )

    def _start_sim_timer(self) -> Timer:
        if self._contract.motion.cpu_affinity is not None:
            self._node.get_logger().warning("cpu_affinity has no effect with use_sim_time")
        return self._node.create_timer(self._period_s, self.tick)

    def _come_to_rest(self) -> None:
        """Brake for as long as the limits require, unless the same signal again cuts it short."""
        logger, motion = self._node.get_logger(), self._motion
        begun_s = time.monotonic()
        if self.is_dead:
            logger.error("the control loop has ended; the robot is brought to rest without it")
        motion.end(self._node.get_clock().now().nanoseconds)
        braking_s = motion.braking_s
        if braking_s > LONG_BRAKING_S:
            logger.warning(
                f"braking takes {braking_s:.1f} s by the limits; "
                "the same signal again cuts it short"
            )
        pause = threading.Event()
        while not motion.is_at_rest or self._is_stop_in_doubt:
            if why := self._why_given_up(begun_s, braking_s):
                logger.error(why)
                return
            if self._loop is None or not self._loop.is_alive:
                self.tick()  # simulated time may stand still
            if motion.is_at_rest:  # on the way there, nobody judges whether it follows
                self._read_measurements()
            pause.wait(self._period_s)

    def _why_given_up(self, begun_s: float, braking_s: float) -> str:
        """Why nobody waits for rest any longer; empty while it is waited for.

        Args:
            begun_s: When braking has begun, on the monotonic clock.
            braking_s: How long it takes, s.
        """
        if self._stop_request.is_repeated():
            return "a second signal cuts braking short: the robot may jerk"
        is_at_rest = self._motion.is_at_rest
        braked_s = max(begun_s, self._braked_again_s) + braking_s
        if time.monotonic() <= braked_s + (DOUBT_S if is_at_rest else BRAKING_SLACK_S):
            return ""
        if is_at_rest:
            return f"the robot is not seen to rest {DOUBT_S:g} s after it should"
        return f"the robot is not at rest after {braking_s:.1f} s"

    def _read_measurements(self) -> None:
        try:
            self._inputs.read_measurements()
        except Exception:  # no message may keep the loop from being ended
            self._motion.fail("a measurement could not be read")

    @property
    def _is_stop_in_doubt(self) -> bool:
        """Whether the loop still finds out that the robot comes to rest, as it was sent to."""
        is_ticking = self._loop is not None and self._loop.is_alive
        return is_ticking and self._motion.is_stop_in_doubt

    def _publish_standstill(self) -> bool:
        """Publish a last command if braking was cut short, so that no velocity stays commanded.

        Returns:
            Whether a last trajectory brings the robot to rest.
        """
        command = self._motion.standstill()
        if command is None:
            return False
        now = self._node.get_clock().now()
        self._output.publish(command.values, now)
        trajectory = self._motion.forecasts.brake_at_once(now.nanoseconds)
        if trajectory is not None:
            self._output.send_trajectory(trajectory)
        return trajectory is not None

    def _write_recording(self) -> None:
        events = self._motion.events
        if events is None:
            return
        path = Path(self._contract.motion.record_path or "")
        try:
            write_events(path, events)
        except OSError as error:
            self._node.get_logger().error(f"the run is not recorded: {error}")
            return
        cut = " (the beginning: it was too long)" if len(events) >= MAX_EVENTS else ""
        self._node.get_logger().info(f"{len(events)} events of the run are in {path}{cut}")
