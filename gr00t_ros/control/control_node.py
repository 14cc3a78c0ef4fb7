# SPDX-License-Identifier: Apache-2.0
"""The control node: plays action chunks against the clock, in a process that does nothing else."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import State as LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.subscription import Subscription
from rclpy.time import Time
from rclpy.timer import Timer
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from gr00t_policy_core.control.chunk import ChunkRefusedError
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.motion_gate import MotionGate
from gr00t_policy_core.control.recording import MAX_EVENTS, write_events
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.parameters import CHUNK_TOPIC
from gr00t_ros.control.control_loop import ControlLoop, keep_loop_punctual
from gr00t_ros.control.control_status import control_status
from gr00t_ros.control.motion_control import MotionControl
from gr00t_ros.control.robot_description import RobotDescription
from gr00t_ros.interfaces.command_publisher import CommandPublisher, command_publishers
from gr00t_ros.interfaces.interface import ConversionError, StateInterface
from gr00t_ros.interfaces.stamps import stamp_ns
from gr00t_ros.msg import ActionChunk, CommandTopicStatus, ControlStatus
from gr00t_ros.node.lifecycle import ManagedNode, spin_node
from gr00t_ros.node.node_parameters import read_contract
from gr00t_ros.node.qos import CHUNK, DESCRIPTION, SENSOR
from gr00t_ros.node.stop_signals import StopRequest

LOG_PERIOD_S = 5.0
SUBSCRIBERS_PERIOD_S = 0.2  # between two looks at who listens to the commands
BRAKING_TOLD_S = 1.0  # a stop that takes longer is announced
BRAKING_SLACK_S = 1.0  # for late ticks, beyond the time that braking needs by the limits
STUCK_S = 1.0  # a loop that has not ticked for so long is stuck


class ControlNode(ManagedNode):
    """Publishes commands at control rate while active: the newest chunk, or the last position.

    Listens to `action_chunk`, to the joint states and poses of the contract, to the robot
    description and to an enable signal; publishes the contract's action topics, `~/status` and
    `/diagnostics`; offers `~/stop` and `~/start`. Nothing is commanded before the first chunk. A
    stop is in force until `~/start`, over every transition.

    Args:
        stop_request: Says whether the process is to end, and whether braking is to be cut short.
        node_arguments: Passed on to rclpy, for example `parameter_overrides`.
    """

    def __init__(self, stop_request: StopRequest | None = None, **node_arguments: Any) -> None:
        super().__init__("control_node", ControlStatus, **node_arguments)
        self._stop_request = stop_request or StopRequest()
        self._contract: Contract | None = None
        self._command_publishers: list[CommandPublisher] = []
        self._inputs: list[Subscription] = []
        self._timers_of_ours: list[Timer] = []
        self._description: RobotDescription | None = None
        self._gate = MotionGate()
        self._motion: MotionControl | None = None
        self._commands = 0
        self._told_state = ControlStatus.STATE_STOPPED
        self._told_failure = False
        self._loop: ControlLoop | None = None
        self._sim_timer: Timer | None = None
        self._chunks = self.create_subscription(ActionChunk, CHUNK_TOPIC, self._on_chunk, CHUNK)
        self.create_service(Trigger, "~/stop", self._on_stop)
        self.create_service(Trigger, "~/start", self._on_start)

    # Lifecycle

    def configure(self) -> None:
        contract = self._contract = read_contract(self)
        settings = contract.motion
        timeout_ns = round(settings.enable_timeout_s * 1e9)
        self._gate.require_enable(timeout_ns if settings.enable_topic else None)
        self._command_publishers.extend(command_publishers(self, contract))
        description = self._description = RobotDescription(contract)
        self._gate.block("robot description", description.why_not_to_move())
        motion = self._motion = MotionControl(contract, self._gate, description.limits)
        for topic, interfaces in motion.joint_interfaces.items():
            on_joints = partial(self._on_joints, interfaces)
            self._listen(interfaces[0].message_type, topic, on_joints, SENSOR)
        for key, stream in motion.pose_streams.items():
            on_pose = partial(self._on_pose, key, stream.interface)
            self._listen(stream.interface.message_type, stream.topic, on_pose, SENSOR)
        if settings.enable_topic:
            self._listen(Bool, settings.enable_topic, self._on_enable, SENSOR)
        for topic in settings.robot_description_topics:
            self._listen(String, topic, partial(self._on_description, topic), DESCRIPTION)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timers_of_ours.append(
            self.create_timer(SUBSCRIBERS_PERIOD_S, self._look_for_subscribers, clock=steady)
        )

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        self._start_loop()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._end_loop()
        return super().on_deactivate(state)

    def close(self) -> None:
        self._end_loop()
        for publisher in self._command_publishers:
            publisher.destroy()
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        for timer in self._timers_of_ours:
            self.destroy_timer(timer)
        self._command_publishers, self._inputs, self._timers_of_ours = [], [], []
        self._contract = self._description = self._motion = None

    @property
    def has_failed(self) -> bool:
        """Whether the motion has failed and the robot stands: the process ends with an error."""
        motion = self._motion
        return motion is not None and bool(motion.failure) and motion.is_at_rest

    @property
    def _is_active(self) -> bool:
        return self._loop is not None or self._sim_timer is not None

    def _listen(self, message_type: type, topic: str, callback: Any, qos: Any) -> None:
        self._inputs.append(self.create_subscription(message_type, topic, callback, qos))

    # The loop

    def _start_loop(self) -> None:
        contract = self._contract
        if contract is None:
            return
        # What lives now lives on. Looking whether it is garbage stops all threads for 10 ms (50 000
        # objects, most of them rclpy's; measured), whenever Python thinks that it is time.
        gc.collect()
        gc.freeze()
        if self.get_parameter("use_sim_time").value:
            if contract.motion.cpu_affinity is not None:
                self.get_logger().warning("cpu_affinity has no effect with use_sim_time")
            # Simulated time may run at any speed, pause, and start again: rclpy's timers follow it.
            self._sim_timer = self.create_timer(1.0 / contract.control_rate_hz, self._tick)
            return
        self._loop = ControlLoop(
            contract.control_rate_hz,
            self._tick,
            realtime_priority=contract.motion.realtime_priority,
            cpu=contract.motion.cpu_affinity,
            warn=self.get_logger().warning,
        )

    def _end_loop(self) -> None:
        """Come to rest first; afterwards nothing is published, and no chunk is kept."""
        contract, motion = self._contract, self._motion
        if not self._is_active or contract is None or motion is None:
            return
        self._come_to_rest(motion, 1.0 / contract.control_rate_hz)
        if self._sim_timer is not None:
            self.destroy_timer(self._sim_timer)
            self._sim_timer = None
        if self._loop is not None:
            self._loop.end()
            self._loop = None
        if not motion.is_at_rest:
            self._publish_standstill(motion)
        gc.unfreeze()  # what is let go of from now on can be collected
        self._write_recording(contract, motion)
        motion.forget_chunks()

    def _come_to_rest(self, motion: MotionControl, period_s: float) -> None:
        """Brake for as long as the limits need, unless a second signal cuts it short."""
        now_s = time.monotonic()
        motion.hold(self.get_clock().now().nanoseconds, "deactivated")
        braking_s = motion.braking_s
        if braking_s > BRAKING_TOLD_S:
            self.get_logger().warning(
                f"braking takes {braking_s:.1f} s by the limits; a second signal cuts it short"
            )
        ends_s = now_s + braking_s + BRAKING_SLACK_S
        pause = threading.Event()
        while not motion.is_at_rest:
            if self._stop_request.is_repeated():
                self.get_logger().error("a second signal cuts braking short: the robot may jerk")
                return
            if time.monotonic() > ends_s:
                self.get_logger().error(f"the robot is not at rest after {braking_s:.1f} s")
                return
            if self._loop is None or not self._loop.is_alive:
                self._tick()  # simulated time may stand still
            pause.wait(period_s)

    def _tick(self) -> None:
        contract, motion = self._contract, self._motion
        if contract is None or motion is None:
            return
        now = self.get_clock().now()
        was_at_rest = motion.command is not None and motion.command.at_rest
        command = motion.tick(now.nanoseconds)
        if motion.failure and not self._told_failure:
            self._told_failure = True
            self.get_logger().error(motion.failure)
        if command is None:
            return
        # The first command at rest goes out: it takes back what was a velocity.
        is_silent = contract.motion.on_starvation == "stop_publishing"
        if command.at_rest and was_at_rest and is_silent:
            return
        try:
            self._publish(command, now)
        except Exception:  # one that cannot be published must not end the loop unbraked
            motion.fail("a command cannot be published")

    def _publish(self, command: Command, now: Time) -> None:
        stamp = now.to_msg()
        for publisher in self._command_publishers:
            publisher.publish(command.values, stamp)
        self._commands += 1

    def _publish_standstill(self, motion: MotionControl) -> None:
        """The last command where braking did not come to its end: no velocity stays commanded."""
        command = motion.standstill()
        if command is not None:
            self._publish(command, self.get_clock().now())

    def _write_recording(self, contract: Contract, motion: MotionControl) -> None:
        events = motion.events
        if events is None:
            return
        path = Path(contract.motion.record_path or "")
        try:
            write_events(path, events)
        except OSError as error:
            self.get_logger().error(f"the run is not recorded: {error}")
            return
        cut = " (the beginning: it was too long)" if len(events) >= MAX_EVENTS else ""
        self.get_logger().info(f"{len(events)} events of the run are in {path}{cut}")

    # What comes in

    def _on_chunk(self, message: ActionChunk) -> None:
        motion = self._motion
        if motion is None or not self._is_active:
            return  # what came before the activation must not be played after it
        self._look_for_subscribers()
        try:
            motion.accept(message, self.get_clock().now().nanoseconds)
        except ChunkRefusedError as error:
            self.get_logger().warning(f"refused: {error}", throttle_duration_sec=LOG_PERIOD_S)

    def _on_joints(self, interfaces: Sequence[StateInterface], message: Any) -> None:
        if self._motion is None:
            return
        stamped_ns = self._stamp_ns(message)
        try:
            for interface in interfaces:
                self._motion.measure_joints(*interface.joint_positions(message), stamped_ns)
        except ConversionError as error:
            self._warn(str(error))

    def _on_pose(self, key: str, interface: StateInterface, message: Any) -> None:
        if self._motion is None:
            return
        try:
            pose = interface.pose(message)
            problem = self._motion.measure_pose(key, pose, self._stamp_ns(message))
        except ConversionError as error:
            problem = str(error)
        if problem:
            self._warn(problem)

    def _warn(self, problem: str) -> None:
        self.get_logger().warning(problem, throttle_duration_sec=LOG_PERIOD_S)

    def _stamp_ns(self, message: Any) -> int:
        return stamp_ns(message, self.get_clock().now().nanoseconds)

    def _on_enable(self, message: Bool) -> None:
        self._gate.enable(message.data, time.monotonic_ns())

    def _on_description(self, topic: str, message: String) -> None:
        description, motion, logger = self._description, self._motion, self.get_logger()
        if description is None or motion is None:
            return
        try:
            is_heeded = description.take(topic, message.data)
        except ValueError as error:
            logger.error(f"limits of the robot description on {topic} are not heeded: {error}")
            return
        if not is_heeded:
            logger.info(f"the one on {description.topic} goes before the description on {topic}")
            return
        logger.info(f"the limits of the robot description on {topic} are heeded")
        for doubt in description.doubts():
            logger.warning(doubt)
        why_not = description.why_not_to_move()
        self._gate.block("robot description", why_not)
        if not why_not:
            motion.take_limits(description.limits, self.get_clock().now().nanoseconds)

    def _look_for_subscribers(self) -> None:
        contract = self._contract
        unheard = [one.topic for one in self._command_publishers if not one.subscribers]
        is_required = contract is not None and contract.motion.require_subscribers
        reason = f"nobody subscribes to {', '.join(unheard)}" if unheard and is_required else ""
        self._gate.block("subscribers", reason)

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._gate.stop("stopped by ~/stop; ~/start allows motion again")
        motion = self._motion
        response.success, response.message = True, "stopped"
        if motion is None or motion.is_at_rest:
            return response
        if motion.failure:
            response.success = False
            response.message = f"braking by the last resort: {motion.failure.splitlines()[0]}"
        elif self._is_stuck:
            response.success, response.message = False, "the control loop does not tick"
        else:
            response.message = f"stopped: at rest within {motion.braking_s:.2f} s"
        return response

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._gate.start()
        motion = self._motion
        failure = motion.failure.splitlines()[0] if motion is not None and motion.failure else ""
        why_not = failure or self._gate.reason(time.monotonic_ns())
        response.success, response.message = not why_not, why_not or "started"
        return response

    # What is told

    @property
    def _is_stuck(self) -> bool:
        return self._loop is not None and self._loop.silent_s > STUCK_S

    def status(self, now: Time) -> ControlStatus:
        state, reason = self._state_and_reason()
        self._tell(state, reason)
        status = control_status(self._motion if self._is_active else None, self._loop)
        status.state, status.reason, status.commands = state, reason, self._commands
        status.command_topics = [
            CommandTopicStatus(topic=one.topic, subscription_count=one.subscribers)
            for one in self._command_publishers
        ]
        status.chunk_publishers = self.count_publishers(self._chunks.topic_name)
        if status.chunk_publishers > 1:
            told = f"{status.chunk_publishers} publishers of {self._chunks.topic_name}"
            status.reason = "; ".join(filter(None, (status.reason, told)))
        return status

    def _tell(self, state: int, reason: str) -> None:
        """Log what a person should know: a hold or an error when it begins, doubts meanwhile."""
        logger = self.get_logger()
        is_bad = state in (ControlStatus.STATE_HOLDING, ControlStatus.STATE_ERROR)
        if is_bad and state != self._told_state:
            logger.warning(reason, throttle_duration_sec=LOG_PERIOD_S)
        if state == ControlStatus.STATE_RUNNING and reason:
            logger.warning(reason, throttle_duration_sec=LOG_PERIOD_S)
        self._told_state = state

    def _state_and_reason(self) -> tuple[int, str]:
        motion = self._motion
        if motion is None or not self._is_active:
            return ControlStatus.STATE_STOPPED, "the node is not active"
        if self._is_stuck:
            return ControlStatus.STATE_ERROR, "the control loop does not tick"
        if motion.fault:
            return ControlStatus.STATE_ERROR, motion.fault
        command = motion.command
        if command is None:
            return ControlStatus.STATE_WAITING, motion.reason
        if command.holding:
            return ControlStatus.STATE_HOLDING, f"holding: {motion.reason}"
        return ControlStatus.STATE_RUNNING, motion.hint


def main(args: list[str] | None = None) -> int:
    """Run the control node as a process."""
    return spin_node(_punctual_node, args)


def _punctual_node(stop_request: StopRequest) -> ControlNode:
    """The node, in a process that is its own: its threads give way to the control loop."""
    node = ControlNode(stop_request)
    priority = node.get_parameter("realtime_priority").value
    is_given = isinstance(priority, int) and priority > 0  # what is wrong, `configure` tells
    keep_loop_punctual(priority if is_given else None, node.get_logger().warning)
    return node
