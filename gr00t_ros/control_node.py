# SPDX-License-Identifier: Apache-2.0
"""The control node: plays action chunks against the clock, in a process that does nothing else."""

from __future__ import annotations

import math
import threading
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import State as LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.timer import Timer

from gr00t_policy_core.control.clock import DeadlineTicker
from gr00t_policy_core.control.schedule import ChunkRefusedError, ChunkSchedule, Command
from gr00t_ros.chunks import CHUNK_TOPIC, chunk_from_message, is_stop
from gr00t_ros.contract import Contract
from gr00t_ros.lifecycle import ManagedNode, spin_node
from gr00t_ros.msg import ActionChunk, PolicyStatus
from gr00t_ros.node_parameters import read_contract
from gr00t_ros.qos import CHUNK, STATUS
from gr00t_ros.sinks import Sink, make_sinks

STATUS_PERIOD_S = 0.5
LOG_PERIOD_S = 5.0
JOIN_S = 2.0
STEADY = Clock(clock_type=ClockType.STEADY_TIME)


class ControlNode(ManagedNode):
    """Publishes commands at control rate while active: the newest chunk, or the last position.

    Listens to `action_chunk`, publishes the contract's action topics and `~/status`. Nothing is
    commanded before the first chunk.

    Args:
        node_arguments: Passed on to rclpy, for example `parameter_overrides`.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("control_node", **node_arguments)
        self._contract: Contract | None = None
        self._sinks: list[Sink] = []
        self._schedule = ChunkSchedule()
        self._command: Command | None = None
        self._stop_loop = threading.Event()
        self._loop: threading.Thread | None = None
        self._sim_timer: Timer | None = None
        # The loop plays the schedule while the executor's thread offers it chunks.
        self._lock = threading.Lock()
        self._received = self._refused = self._commands = self._holds = 0
        self._why_not = ""  # why the last chunk is not played, or no longer
        self._told_state = PolicyStatus.STATE_STOPPED
        self._status = self.create_publisher(PolicyStatus, "~/status", STATUS)
        self._chunks = self.create_subscription(ActionChunk, CHUNK_TOPIC, self._on_chunk, CHUNK)
        # By a clock that runs while simulated time stands still: that, too, has to be seen.
        self.create_timer(STATUS_PERIOD_S, self._publish_status, clock=STEADY)

    def configure(self) -> None:
        self._contract = read_contract(self)
        for sink in make_sinks(self, self._contract):
            self._sinks.append(sink)

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
        self._sinks = []
        self._contract = None

    @property
    def _is_playing(self) -> bool:
        return self._loop is not None or self._sim_timer is not None

    def _start_loop(self) -> None:
        contract = self._contract
        if contract is None:
            return
        self._stop_loop.clear()
        if self.get_parameter("use_sim_time").value:
            # Simulated time may run at any speed, pause, and start again: rclpy's timers follow it.
            self._sim_timer = self.create_timer(1.0 / contract.control_rate_hz, self._tick)
            return
        self._loop = threading.Thread(
            target=self._run_loop, args=(contract.control_rate_hz,), name="control", daemon=True
        )
        self._loop.start()

    def _end_loop(self) -> None:
        """Afterwards nothing is published, and a new activation starts without a chunk."""
        self._stop_loop.set()
        if self._sim_timer is not None:
            self.destroy_timer(self._sim_timer)
            self._sim_timer = None
        if self._loop is not None:
            self._loop.join(JOIN_S)
            self._loop = None
        with self._lock:
            last = self._command
            self._schedule.clear()
            self._command = None
        if last is not None:
            self._publish_command(last, holding=True)  # a velocity must not stay commanded

    def _run_loop(self, rate_hz: float) -> None:
        ticker = DeadlineTicker(rate_hz)
        while not self._stop_loop.is_set():
            ticker.wait()
            self._tick()

    def _tick(self) -> None:
        now_ns = self.get_clock().now().nanoseconds
        with self._lock:
            was_playing = self._command is not None and not self._command.holding
            self._command = command = self._schedule.command(now_ns)
        if command is None:
            return
        if command.holding and was_playing:
            self._holds += 1
        self._publish_command(command, holding=command.holding)
        self._commands += 1

    def _publish_command(self, command: Command, *, holding: bool) -> None:
        stamp = self.get_clock().now().to_msg()
        for sink in self._sinks:
            sink.publish(command.values, stamp, holding=holding)

    def _on_chunk(self, message: ActionChunk) -> None:
        contract = self._contract
        if contract is None or not self._is_playing:
            return  # what came before the activation must not be played after it
        if is_stop(message):
            with self._lock:
                self._schedule.hold()
            self._why_not = "holding: told to stop"
            return
        try:
            chunk = chunk_from_message(contract, message)
            with self._lock:
                self._schedule.offer(chunk, self.get_clock().now().nanoseconds)
        except ChunkRefusedError as error:
            self._refused += 1
            self._why_not = str(error)
            self.get_logger().warning(f"refused: {error}", throttle_duration_sec=LOG_PERIOD_S)
            return
        self._received += 1
        self._why_not = ""

    def _publish_status(self) -> None:
        now = self.get_clock().now()
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
            chunks_received=self._received,
            chunks_refused=self._refused,
            commands=self._commands,
            holds=self._holds,
        )
        status.header.stamp = now.to_msg()
        command = self._command
        if command is not None:
            status.chunk_id = command.chunk_id
            status.steps_left = command.steps_left
        self._status.publish(status)

    def _state_and_reason(self) -> tuple[int, str]:
        command = self._command
        if not self._is_playing:
            return PolicyStatus.STATE_STOPPED, "the node is not active"
        if self._loop is not None and not self._loop.is_alive():
            return PolicyStatus.STATE_STOPPED, "the control loop has failed; its error is on stderr"
        if command is None:
            return PolicyStatus.STATE_WAITING, self._why_not or "no chunk received yet"
        if command.holding:
            used_up = f"holding: chunk {command.chunk_id} ended and no other came"
            return PolicyStatus.STATE_HOLDING, self._why_not or used_up
        return PolicyStatus.STATE_RUNNING, ""


def main(args: list[str] | None = None) -> int:
    """Run the control node as a process."""
    return spin_node(ControlNode, args)
