# SPDX-License-Identifier: Apache-2.0
"""The control node: plays action chunks against the clock, in a process that does nothing else."""

from __future__ import annotations

import time
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import State as LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.time import Time
from rclpy.timer import Timer
from std_srvs.srv import SetBool, Trigger

from gr00t_policy_core.control.chunk import ChunkRefusedError
from gr00t_policy_core.control.motion_gate import MotionGate
from gr00t_policy_core.control.player_settings import MAX_AGE_S
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.parameters import CHUNK_TOPIC
from gr00t_ros.control.activation import Activation
from gr00t_ros.control.command_topics import CommandTopics
from gr00t_ros.control.control_loop import keep_loop_punctual
from gr00t_ros.control.control_status import control_status
from gr00t_ros.control.controller_switch import ControllerSwitch, ControllerSwitchError
from gr00t_ros.control.motion_control import MotionControl
from gr00t_ros.control.operator_inputs import OperatorInputs
from gr00t_ros.control.policy_watch import PolicyWatch
from gr00t_ros.control.robot_inputs import RobotInputs
from gr00t_ros.control.supervision import NOT_ACTIVE, Supervision
from gr00t_ros.control.workspaces import require_kinematics
from gr00t_ros.msg import ActionChunk, ControlStatus
from gr00t_ros.node.lifecycle import ManagedNode, spin_node
from gr00t_ros.node.node_parameters import read_contract
from gr00t_ros.node.opposite_services import OppositeServices
from gr00t_ros.node.qos import CHUNK
from gr00t_ros.node.run_name import run_name
from gr00t_ros.node.stop_signals import StopRequest

LOG_PERIOD_S = 5.0  # between two logs of the same kind
SUBSCRIBERS_PERIOD_S = 0.2  # between two checks of who subscribes to the commands


class ControlNode(ManagedNode):
    """Publishes commands at the control rate while active: the newest chunk, or the last position.

    Subscribes to `action_chunk`, to the joint states and poses of the contract, to the robot
    description, to an enable signal, to the devices of an operator and, where chunks are played
    whole (`inference: sync`), to the status of the policy node; publishes the command topics
    of the contract, `intervention`, `~/status` and `/diagnostics`; offers `~/stop` and `~/start`,
    `~/intervene`, `~/go_live` and `~/go_shadow`. Nothing is commanded before the first chunk. A
    stop is in force until `~/start`, across all transitions.

    Args:
        stop_request: Says whether the process should end, and whether it should cut braking short.
        node_arguments: Passed on to rclpy, for example `parameter_overrides`.
    """

    def __init__(self, stop_request: StopRequest | None = None, **node_arguments: Any) -> None:
        super().__init__("control_node", ControlStatus, **node_arguments)
        self._stop_request = stop_request or StopRequest()
        self._source = run_name(self)
        self._gate = MotionGate()
        self._contract: Contract | None = None
        self._output: CommandTopics | None = None
        self._motion: MotionControl | None = None
        self._inputs: RobotInputs | None = None
        self._supervision: Supervision | None = None
        self._operator: OperatorInputs | None = None
        self._policy_watch: PolicyWatch | None = None
        self._subscribers_timer: Timer | None = None
        self._lost_keys: frozenset[str] = frozenset()  # whose controller is gone
        self._switch: ControllerSwitch | None = None
        self._activation: Activation | None = None
        self._logged_state = ControlStatus.STATE_STOPPED
        self._chunks = self.create_subscription(ActionChunk, CHUNK_TOPIC, self._on_chunk, CHUNK)
        OppositeServices(
            self, start="~/start", on_start=self._on_start, stop="~/stop", on_stop=self._on_stop
        )
        OppositeServices(
            self,
            start="~/go_live",
            on_start=self._on_go_live,
            stop="~/go_shadow",
            on_stop=self._on_go_shadow,
        )
        self.create_service(SetBool, "~/intervene", self._on_intervene)

    # Lifecycle

    def configure(self) -> None:
        contract = self._contract = read_contract(self)
        require_kinematics(contract)
        self._output = CommandTopics(self, contract)
        motion = self._motion = MotionControl(contract, self._gate, run=self._source)
        self._inputs = RobotInputs(self, contract, self._gate, motion.robot)
        self._switch = self._make_switch(contract)
        supervision = self._supervision = Supervision(contract, self._gate, motion)
        self._operator = OperatorInputs(self, contract, supervision)
        if contract.inference == "sync":
            self._policy_watch = PolicyWatch(
                self,
                timeout_s=contract.motion.max_observation_age_s or MAX_AGE_S,
                on_silent=self._on_policy_silent,
            )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._subscribers_timer = self.create_timer(
            SUBSCRIBERS_PERIOD_S, self._check_subscribers, clock=steady
        )

    def _make_switch(self, contract: Contract) -> ControllerSwitch | None:
        motion = contract.motion
        if not motion.activate_controllers:
            return None
        return ControllerSwitch(self, motion.controller_manager, motion.activate_controllers)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._switch is not None:
            try:
                self._switch.activate()
            except ControllerSwitchError as error:
                self._problem = f"cannot activate: {error}"
                self.get_logger().error(self._problem)
                return TransitionCallbackReturn.FAILURE
        self._problem = ""
        result = super().on_activate(state)
        contract, motion, inputs, output = self._contract, self._motion, self._inputs, self._output
        if self._supervision is not None:
            self._supervision.begin_activation()
        if contract and motion and inputs and output:
            self._activation = Activation(
                self, contract, motion, inputs, output, self._stop_request
            )
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._end_activation()
        return super().on_deactivate(state)

    def close(self) -> None:
        self._end_activation()
        if self._output is not None:
            self._output.destroy()
        if self._inputs is not None:
            self._inputs.destroy()
        if self._operator is not None:
            self._operator.destroy()
        if self._switch is not None:
            self._switch.destroy()
        if self._policy_watch is not None:
            self._policy_watch.destroy()
        if self._subscribers_timer is not None:
            self.destroy_timer(self._subscribers_timer)
        self._contract = self._output = self._motion = self._inputs = None
        self._supervision = self._operator = self._subscribers_timer = self._switch = None
        self._policy_watch = None

    @property
    def has_failed(self) -> bool:
        """Whether the process should end: the motion has failed and is at rest, or no loop ticks.

        Without its loop the robot comes to rest in `close`.
        """
        motion, activation = self._motion, self._activation
        if activation is not None and activation.is_dead:
            return True
        return motion is not None and bool(motion.failure) and motion.is_at_rest

    def _end_activation(self) -> None:
        if self._supervision is not None:
            self._supervision.end_activation(self.get_clock().now().nanoseconds)
        if self._operator is not None:
            self._operator.update()
        if self._activation is not None:
            is_sent_to_rest = self._activation.end()
            self._activation = None
            self._switch_back(is_sent_to_rest)

    def _switch_back(self, is_sent_to_rest: bool) -> None:
        if self._switch is None:
            return
        if is_sent_to_rest:
            self.get_logger().error(
                "the controllers are not switched back: the last trajectory still brings the robot "
                "to rest"
            )
            return
        try:
            self._switch.switch_back()
        except ControllerSwitchError as error:
            self.get_logger().error(f"the controllers are not switched back: {error}")

    # Topics and services

    def _on_chunk(self, message: ActionChunk) -> None:
        supervision = self._supervision
        if supervision is None or self._activation is None:
            return  # a chunk from before the activation must not be played after it
        self._check_subscribers()
        try:
            supervision.accept(message, self.get_clock().now().nanoseconds)
        except ChunkRefusedError as error:
            self.get_logger().warning(f"rejected: {error}", throttle_duration_sec=LOG_PERIOD_S)

    def _on_policy_silent(self, reason: str) -> None:
        if self._supervision is not None:
            self._supervision.lose_policy(self.get_clock().now().nanoseconds, reason)

    def _check_subscribers(self) -> None:
        """Forbid motion while nobody takes the commands, or since a controller gave one up."""
        contract, output = self._contract, self._output
        if contract is None or output is None:
            return
        left = output.take_trajectory_failures()  # ends what nobody answers: no problem any more
        for failure, _ in left:
            self._gate.stop(f"a trajectory was not carried out: {failure}; ~/start goes on")
        is_required = contract.motion.require_subscribers
        self._gate.block("subscribers", output.problem if is_required else "")
        were_lost, self._lost_keys = self._lost_keys, output.keys_without_controller
        if self._lost_keys - were_lost:
            left.append(("the controller is gone", self._lost_keys - were_lost))
        for why, keys in left:
            if self._motion is not None:
                self._motion.leave_path(keys, self.get_clock().now().nanoseconds, why)

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._gate.stop("stopped by ~/stop; ~/start allows motion again")
        motion = self._motion
        response.success, response.message = True, "stopped"
        if motion is None or motion.is_at_rest:
            return response
        if motion.failure:
            response.success = False
            response.message = f"braking by the fallback: {motion.failure.splitlines()[0]}"
        elif self._activation is not None and self._activation.is_stuck:
            response.success, response.message = False, "the control loop does not tick"
        else:
            response.message = f"stopped: at rest within {motion.braking_s:.2f} s"
        return response

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._gate.start()
        motion = self._motion
        if self._output is not None:
            self._output.resume()
        failure = motion.failure.splitlines()[0] if motion is not None and motion.failure else ""
        inactive = "" if self._activation is not None else f"{NOT_ACTIVE}; its stop is lifted"
        why_not = failure or inactive or self._gate.reason(time.monotonic_ns())
        response.success, response.message = not why_not, why_not or "started"
        return response

    def _on_intervene(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        supervision, now_ns = self._supervision, self.get_clock().now().nanoseconds
        if supervision is None or self._activation is None:
            response.success, response.message = False, NOT_ACTIVE
            return response
        why_not = ""
        if request.data:
            why_not = supervision.intervene(now_ns)
        else:
            supervision.hand_back(now_ns)
        if self._operator is not None:
            self._operator.update()
        drives = "a person drives" if request.data else "the policy drives"
        response.success, response.message = not why_not, why_not or drives
        return response

    def _on_go_live(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        why_not = self._supervision.go_live() if self._supervision is not None else NOT_ACTIVE
        response.success, response.message = not why_not, why_not or "live: the robot is commanded"
        return response

    def _on_go_shadow(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        supervision, motion = self._supervision, self._motion
        if supervision is None or motion is None:
            response.success, response.message = False, NOT_ACTIVE
            return response
        supervision.go_shadow()
        is_shadow, braking_s = motion.is_shadow, motion.braking_s
        later = f"in shadow once the robot is at rest, within {braking_s:.2f} s"
        response.success = True
        response.message = "in shadow: nothing is commanded" if is_shadow else later
        return response

    # Status

    def status(self, now: Time) -> ControlStatus:
        state, reason = self._state_and_reason()
        self._log_state(state, reason)
        status = control_status(self._motion, self._activation, self._output)
        if self._supervision is not None:
            status.intervention = self._supervision.is_intervening
            status.chunks_not_played = self._supervision.chunks_not_played
        status.source = self._source
        status.state, status.reason = state, reason
        status.chunk_publishers = self.count_publishers(self._chunks.topic_name)
        warnings = self._inputs.rejected.recent() if self._inputs is not None else []
        if status.chunk_publishers > 1:
            warnings.append(f"{status.chunk_publishers} publishers of {self._chunks.topic_name}")
        status.reason = "; ".join(filter(None, (reason, *warnings)))
        return status

    def _state_and_reason(self) -> tuple[int, str]:
        motion, activation = self._motion, self._activation
        if motion is None or activation is None:
            return ControlStatus.STATE_STOPPED, NOT_ACTIVE
        if activation.is_dead:
            return ControlStatus.STATE_ERROR, "the control loop has ended"
        if activation.is_stuck:
            return ControlStatus.STATE_ERROR, "the control loop does not tick"
        if motion.fault:
            return ControlStatus.STATE_ERROR, motion.fault
        if self._supervision is not None and self._supervision.is_intervening:
            return ControlStatus.STATE_INTERVENTION, self._supervision.reason
        command = motion.command
        if command is None:
            return ControlStatus.STATE_WAITING, motion.reason
        if command.holding:
            return ControlStatus.STATE_HOLDING, f"holding: {motion.reason}"
        would_stop = f"would have stopped: {motion.shadow_fault}" if motion.shadow_fault else ""
        return ControlStatus.STATE_RUNNING, would_stop or motion.chunk_warning

    def _log_state(self, state: int, reason: str) -> None:
        """Log a hold or an error when it begins, and a warning while it lasts."""
        logger = self.get_logger()
        has_stopped = state in (ControlStatus.STATE_HOLDING, ControlStatus.STATE_ERROR)
        if has_stopped and state != self._logged_state:
            logger.warning(reason, throttle_duration_sec=LOG_PERIOD_S)
        if state == ControlStatus.STATE_RUNNING and reason:
            logger.warning(reason, throttle_duration_sec=LOG_PERIOD_S)  # has a throttle of its own
        self._logged_state = state


def main(args: list[str] | None = None) -> int:
    """Run the control node as a process."""
    return spin_node(_punctual_node, args)


def _punctual_node(stop_request: StopRequest) -> ControlNode:
    """Make the node in a process of its own, whose other threads give way to the control loop."""
    node = ControlNode(stop_request)
    priority = node.get_parameter("realtime_priority").value
    is_given = isinstance(priority, int) and priority > 0  # `configure` reports a wrong value
    keep_loop_punctual(priority if is_given else None, node.get_logger().warning)
    return node
