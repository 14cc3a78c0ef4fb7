# SPDX-License-Identifier: Apache-2.0
"""The control node: plays action chunks against the clock, in a process that does nothing else."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.lifecycle import State as LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.subscription import Subscription
from rclpy.time import Time
from rclpy.timer import Timer
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.gate import MotionGate
from gr00t_policy_core.control.layout import Layout
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.recording import RecordingPlayer, write_events
from gr00t_ros.chunks import chunk_from_message, is_stop
from gr00t_ros.contract import Contract
from gr00t_ros.control_loop import ControlLoop, Punctuality, keep_loop_punctual
from gr00t_ros.control_status import add_motion
from gr00t_ros.conversions import pose_values
from gr00t_ros.lifecycle import ManagedNode, spin_node
from gr00t_ros.motion import CommandedJoints, CommandedPoses, make_layout, make_player
from gr00t_ros.msg import ActionChunk, PolicyStatus
from gr00t_ros.node_parameters import read_contract
from gr00t_ros.parameters import CHUNK_TOPIC
from gr00t_ros.qos import CHUNK, DESCRIPTION, SENSOR
from gr00t_ros.robot_description import RobotDescription
from gr00t_ros.sinks import Sink, make_sinks
from gr00t_ros.urdf import UrdfLimits

LOG_PERIOD_S = 5.0
BRAKING_S = 3.0  # to come to rest in, before a deactivation goes on without


class ControlNode(ManagedNode):
    """Publishes commands at control rate while active: the newest chunk, or the last position.

    Listens to `action_chunk`, to the joint states and poses of the contract, to the robot
    description and to an enable signal; publishes the contract's action topics, `~/status` and
    `/diagnostics`; offers `~/stop` and `~/start`. Nothing is commanded before the first chunk.

    Args:
        node_arguments: Passed on to rclpy, for example `parameter_overrides`.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("control_node", **node_arguments)
        self._contract: Contract | None = None
        self._sinks: list[Sink] = []
        self._inputs: list[Subscription] = []
        self._description: RobotDescription | None = None
        self._gate = MotionGate(None)
        self._joints: CommandedJoints | None = None
        self._poses: CommandedPoses | None = None
        self._player: MotionPlayer | None = None
        self._layout: Layout | None = None
        self._command: Command | None = None
        self._commands = 0
        self._unplayable = 0  # chunks refused before there was a player
        self._why_not = ""
        self._told_state = PolicyStatus.STATE_STOPPED
        self._loop: ControlLoop | None = None
        self._sim_timer: Timer | None = None
        # The loop plays while the executor's thread brings chunks and joint positions.
        self._lock = threading.Lock()
        self._chunks = self.create_subscription(ActionChunk, CHUNK_TOPIC, self._on_chunk, CHUNK)
        self.create_service(Trigger, "~/stop", self._on_stop)
        self.create_service(Trigger, "~/start", self._on_start)

    def configure(self) -> None:
        contract = self._contract = read_contract(self)
        motion = contract.motion
        timeout_ns = round(motion.enable_timeout_s * 1e9)
        self._gate = MotionGate(timeout_ns if motion.enable_topic else None)
        for sink in make_sinks(self, contract):
            self._sinks.append(sink)
        self._joints = CommandedJoints(contract)
        for topic in self._joints.topics:
            self._listen(JointState, topic, self._on_joints, SENSOR)
        self._poses = CommandedPoses(contract)
        for key, topic in self._poses.topics.items():
            self._listen(PoseStamped, topic, partial(self._on_pose, key), SENSOR)
        if motion.enable_topic:
            self._listen(Bool, motion.enable_topic, self._on_enable, SENSOR)
        self._description = RobotDescription(contract)
        self._gate.lack(self._description.why_not_to_move())
        for topic in motion.robot_description_topics:
            self._listen(String, topic, partial(self._on_description, topic), DESCRIPTION)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        self._start_loop()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._end_loop()
        return super().on_deactivate(state)

    def close(self) -> None:
        self._end_loop()
        for sink in self._sinks:
            sink.destroy()
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._sinks, self._inputs = [], []
        self._contract = self._joints = self._poses = self._description = None

    @property
    def _urdf(self) -> Mapping[str, UrdfLimits]:
        return self._description.limits if self._description is not None else {}

    @property
    def _is_active(self) -> bool:
        return self._loop is not None or self._sim_timer is not None

    def _listen(self, message_type: type, topic: str, callback: Any, qos: Any) -> None:
        self._inputs.append(self.create_subscription(message_type, topic, callback, qos))

    def _start_loop(self) -> None:
        contract = self._contract
        if contract is None:
            return
        # What lives now lives on. Looking whether it is garbage stops all threads for 10 ms (50 000
        # objects, most of them rclpy's; measured), whenever Python thinks that it is time.
        gc.collect()
        gc.freeze()
        if self.get_parameter("use_sim_time").value:
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
        if not self._is_active:
            return
        self._come_to_rest()
        if self._sim_timer is not None:
            self.destroy_timer(self._sim_timer)
            self._sim_timer = None
        if self._loop is not None:
            self._loop.end()
            self._loop = None
        gc.unfreeze()  # what is let go of from now on can be collected
        self._write_recording()
        with self._lock:
            self._player = self._layout = self._command = None
        self._why_not, self._unplayable = "", 0

    def _write_recording(self) -> None:
        contract, player = self._contract, self._player
        if contract is None or not isinstance(player, RecordingPlayer):
            return
        path = Path(contract.motion.record_path or "")
        try:
            write_events(path, player.events)
        except OSError as error:
            self.get_logger().error(f"the run is not recorded: {error}")
            return
        cut = " (the beginning: it was too long)" if player.is_full else ""
        self.get_logger().info(f"{len(player.events)} events of the run are in {path}{cut}")

    def _come_to_rest(self) -> None:
        """Let the loop brake; simulated time may stand still, so there the ticks are made here."""
        contract, player = self._contract, self._player
        if contract is None or player is None:
            return
        with self._lock:
            player.hold(self.get_clock().now().nanoseconds, "deactivated")
        period_s = 1.0 / contract.control_rate_hz
        pause = threading.Event()
        for _ in range(round(BRAKING_S / period_s)):
            if self._sim_timer is not None:
                self._tick()
            command = self._command
            if command is None or command.at_rest:
                return
            pause.wait(period_s)

    def _tick(self) -> None:
        contract, player = self._contract, self._player
        if contract is None or player is None:
            return
        now = self.get_clock().now()
        before = self._command
        with self._lock:
            player.allow(self._gate.reason(time.monotonic_ns()))
            self._command = command = player.tick(now.nanoseconds)
        if command is None:
            return
        # The first command at rest goes out: it takes back what was a velocity.
        was_at_rest = before is not None and before.at_rest
        if command.at_rest and was_at_rest and contract.motion.on_starvation == "stop_publishing":
            return
        stamp = now.to_msg()
        for sink in self._sinks:
            sink.publish(command.values, stamp)
        self._commands += 1

    def _on_chunk(self, message: ActionChunk) -> None:
        contract = self._contract
        if contract is None or not self._is_active:
            return  # what came before the activation must not be played after it
        now_ns = self.get_clock().now().nanoseconds
        if is_stop(message):
            with self._lock:
                if self._player is not None:
                    self._player.hold(now_ns, "told to stop")
            return
        try:
            chunk = chunk_from_message(contract, message)
            player = self._player or self._make_player(contract, chunk)
        except ChunkRefusedError as error:
            self._refuse(error)
            return
        try:
            with self._lock:
                player.allow(self._gate.reason(time.monotonic_ns()))
                player.offer(chunk, now_ns)
        except ChunkRefusedError as error:
            self._log_refusal(error)

    def _refuse(self, error: ChunkRefusedError) -> None:
        """Refuse what cannot be offered to a player."""
        self._log_refusal(error)
        if self._player is not None:
            self._player.refuse(str(error))
        else:
            self._unplayable += 1
            self._why_not = str(error)

    def _log_refusal(self, error: ChunkRefusedError) -> None:
        self.get_logger().warning(f"refused: {error}", throttle_duration_sec=LOG_PERIOD_S)

    def _make_player(self, contract: Contract, chunk: Chunk) -> MotionPlayer:
        """Made by the first chunk, which alone knows how long some keys are."""
        lacking = self._description.why_not_to_move() if self._description is not None else ""
        if lacking:
            raise ChunkRefusedError(lacking)
        layout = make_layout(contract, chunk)
        try:
            player = make_player(contract, layout, self._urdf)
        except ValueError as error:
            raise ChunkRefusedError(f"the limits contradict each other: {error}") from error
        for measured in (self._joints, self._poses):
            if measured is not None:
                measured.tell(player, layout)
        self._player, self._layout = player, layout
        return player

    def _on_joints(self, message: JointState) -> None:
        joints = self._joints
        if joints is None:
            return
        with self._lock:
            joints.update(message.name, message.position, self._stamp_ns(message))
            if self._player is not None and self._layout is not None:
                joints.tell(self._player, self._layout)

    def _on_pose(self, key: str, message: PoseStamped) -> None:
        poses = self._poses
        if poses is None:
            return
        pose, stamp_ns = pose_values(message.pose), self._stamp_ns(message)
        with self._lock:
            problem = poses.update(key, pose, message.header.frame_id, stamp_ns)
            if self._player is not None and self._layout is not None:
                poses.tell(self._player, self._layout)
        if problem:
            self.get_logger().warning(problem, throttle_duration_sec=LOG_PERIOD_S)

    def _stamp_ns(self, message: JointState | PoseStamped) -> int:
        stamp = message.header.stamp
        stamp_ns = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
        return stamp_ns or int(self.get_clock().now().nanoseconds)

    def _on_enable(self, message: Bool) -> None:
        self._gate.enable(message.data, time.monotonic_ns())

    def _on_description(self, topic: str, message: String) -> None:
        description, logger = self._description, self.get_logger()
        if description is None:
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
        self._gate.lack(description.why_not_to_move())
        if self._player is not None:
            self.get_logger().warning(
                "the robot description came after the first chunk: its limits are heeded from the "
                "next activation on"
            )

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._gate.stop("stopped by ~/stop; ~/start allows motion again")
        response.success, response.message = True, "stopped"
        return response

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._gate.start()
        why_not = self._gate.reason(time.monotonic_ns())
        response.success, response.message = not why_not, why_not or "started"
        return response

    def status(self, now: Time) -> PolicyStatus:
        state, reason = self._state_and_reason()
        if state == PolicyStatus.STATE_HOLDING and state != self._told_state:
            self.get_logger().warning(reason, throttle_duration_sec=LOG_PERIOD_S)
        self._told_state = state
        status = PolicyStatus(
            state=state,
            reason=reason,
            observation_age_s=math.nan,
            round_trip_s=math.nan,
            policy_time_s=math.nan,
            commands=self._commands,
        )
        add_motion(
            status,
            self._player,
            self._command,
            self._loop.punctuality() if self._loop is not None else Punctuality(),
            now_ns=now.nanoseconds,
        )
        status.chunks_refused += self._unplayable
        return status

    def _state_and_reason(self) -> tuple[int, str]:
        player, command = self._player, self._command
        if not self._is_active:
            return PolicyStatus.STATE_STOPPED, "the node is not active"
        if self._loop is not None and not self._loop.is_alive:
            return PolicyStatus.STATE_WAITING, "the control loop has failed; its error is on stderr"
        if player is None or command is None:
            told = player.reason if player is not None else self._why_not
            waiting = self._gate.reason(time.monotonic_ns()) or told
            return PolicyStatus.STATE_WAITING, waiting or "no chunk received yet"
        if command.holding:
            return PolicyStatus.STATE_HOLDING, f"holding: {player.reason}"
        return PolicyStatus.STATE_RUNNING, ""


def main(args: list[str] | None = None) -> int:
    """Run the control node as a process."""
    return spin_node(_punctual_node, args)


def _punctual_node() -> ControlNode:
    """The node, in a process that is its own: its threads give way to the control loop."""
    node = ControlNode()
    priority = node.get_parameter("realtime_priority").value
    is_given = isinstance(priority, int) and priority > 0  # what is wrong, `configure` tells
    keep_loop_punctual(priority if is_given else None, node.get_logger().warning)
    return node
