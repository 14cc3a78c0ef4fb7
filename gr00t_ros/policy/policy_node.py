# SPDX-License-Identifier: Apache-2.0
"""The policy node: observation streams in, action chunks out, inference in a thread of its own."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import State as LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.subscription import Subscription
from rclpy.task import Future
from rclpy.time import Time
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_policy_core.policy import BasePolicy
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.parameters import CHUNK_TOPIC, INTERVENTION_TOPIC
from gr00t_ros.contract.policy_settings import PolicySettings
from gr00t_ros.msg import ActionChunk, PolicyStatus
from gr00t_ros.node.lifecycle import ManagedNode, bring_up, spin_node
from gr00t_ros.node.node_parameters import read_contract
from gr00t_ros.node.opposite_services import OppositeServices
from gr00t_ros.node.qos import CHUNK, DESCRIPTION, INSTRUCTION, LATCHED
from gr00t_ros.node.run_name import run_name
from gr00t_ros.policy.chunk_publisher import ChunkPublisher
from gr00t_ros.policy.continuation import Continuation
from gr00t_ros.policy.control_watch import ControlWatch
from gr00t_ros.policy.described_contract import DescribedContract
from gr00t_ros.policy.inference_session import SessionFactory, require_compatible
from gr00t_ros.policy.inference_worker import InferenceReport, InferenceResult, InferenceWorker
from gr00t_ros.policy.observation_builder import NotReadyError
from gr00t_ros.policy.policy_backend import close_policy, make_policy
from gr00t_ros.policy.policy_status import policy_status
from gr00t_ros.policy.robot_info import RobotInfo
from gr00t_ros.policy.streams import ObservationStreams
from gr00t_ros.policy.task_watch import TaskWatch

WARNING_PERIOD_S = 10.0  # between two logs of the same warning
NEWS_PERIOD_S = 1.0  # between two looks at whether the server should be told of the robot
CLOSE_S = 2.0  # for the worker to end; a policy that hangs is left behind


class PolicyNode(ManagedNode):
    """Asks a policy for action chunks while active and started.

    Publishes `action_chunk`, `~/status` and `/diagnostics`; offers `~/start`, `~/stop` and
    `~/reset`; subscribes to `~/instruction`, to the observation streams and to the statuses of the
    control node and the task node. When inference stops, it publishes a chunk message with `stop`
    set, and the control node brings the robot to rest. It also stops when a task has started it
    whose task node has ended, and when the control node was started again.

    Args:
        policy_factory: Makes the policy that the parameters name; a test may pass another factory.
        node_arguments: Passed on to rclpy, for example `parameter_overrides`.
    """

    def __init__(
        self,
        *,
        policy_factory: Callable[[PolicySettings], BasePolicy] = make_policy,
        **node_arguments: Any,
    ) -> None:
        super().__init__("policy_node", PolicyStatus, **node_arguments)
        self._policy_factory = policy_factory
        self._policy: BasePolicy | None = None
        self._contract: Contract | None = None
        self._described: DescribedContract | None = None
        self._descriptions: list[Subscription] = []
        self._streams: ObservationStreams | None = None
        self._worker: InferenceWorker | None = None
        self._continuation: Continuation | None = None
        self._robot_info: RobotInfo | None = None
        self._instruction = ""
        self._is_stopped = False  # by ~/stop: in force until ~/start, across all transitions
        self._stops = 0
        self._active = False
        self._a_person_drives = False
        self._chunks = ChunkPublisher(
            self.create_lifecycle_publisher(ActionChunk, CHUNK_TOPIC, CHUNK),
            self.get_clock(),
            source=run_name(self),
        )
        self.create_subscription(String, "~/instruction", self._on_instruction, INSTRUCTION)
        self.create_subscription(Bool, INTERVENTION_TOPIC, self._on_intervention, LATCHED)
        OppositeServices(
            self, start="~/start", on_start=self._on_start, stop="~/stop", on_stop=self._on_stop
        )
        # A reset waits for the policy; other services must be answered in the meantime.
        self.create_service(
            Trigger, "~/reset", self._on_reset, callback_group=ReentrantCallbackGroup()
        )
        self._task_watch = TaskWatch(self, self._task_timeout_s, self._stop_by_itself)
        self._control_watch = ControlWatch(self, self._stop_by_itself)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(NEWS_PERIOD_S, self._tell_news, clock=steady)

    # Lifecycle

    def configure(self) -> None:
        contract = read_contract(self)
        described = DescribedContract(contract)
        self._policy = policy = self._policy_factory(contract.policy)
        try:
            require_compatible(contract, policy)
        except SpecError:
            raise
        except (PolicyError, NotReadyError) as error:
            self.get_logger().warning(
                f"the policy does not answer yet, the node goes on without it: {error}"
            )
        self._contract = contract
        self._described = described
        self._streams = streams = ObservationStreams(self, contract)
        self._continuation = Continuation(step_s=1.0 / contract.action_rate_hz)
        robot_info = self._robot_info = RobotInfo(
            self, robot=contract.policy.robot_name or self._own_name(), task=self._present_task
        )
        sessions = SessionFactory(
            described,
            streams,
            self._continuation,
            robot_info,
            now_ns=self._now_ns,
            instruction=self._present_instruction,
            logger=self.get_logger(),
        )
        self._worker = InferenceWorker(
            policy=policy,
            prepare=sessions.make,
            publish=self._publish_chunk,
            hold=self._publish_stop,
            logger=self.get_logger(),
            now_s=self._now_s,
        )
        streams.subscribe(on_message=self._worker.notice_message)
        self._descriptions = [
            self.create_subscription(
                String, topic, partial(self._on_description, topic), DESCRIPTION
            )
            for topic in described.topics
        ]

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        self._active = True
        if self.autostart and not self._is_stopped and self._worker is not None:
            self._control_watch.run.begin()
            self._worker.start()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop_inference("the policy node was deactivated")
        self._active = False
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._instruction = ""
        return super().on_cleanup(state)

    def close(self) -> None:
        self._stop_inference("the policy node was shut down")
        worker, streams, policy = self._worker, self._streams, self._policy
        self._worker = self._streams = self._policy = self._contract = self._continuation = None
        self._described = None
        for subscription in self._descriptions:
            self.destroy_subscription(subscription)
        self._descriptions.clear()
        self._active = False
        if self._robot_info is not None:
            self._robot_info.destroy()
            self._robot_info = None
        if streams is not None:
            streams.destroy()
        if worker is not None and not worker.close(CLOSE_S):
            self.get_logger().warning("the policy hangs in a call; the call ends by its timeout")
            return
        if policy is not None:
            close_policy(policy)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _now_s(self) -> float:
        return self._now_ns() * 1e-9

    def _present_instruction(self) -> str:
        return self._instruction

    def _own_name(self) -> str:
        return f"{socket.gethostname()}{self.get_namespace().rstrip('/')}"

    def _present_task(self) -> str:
        contract = self._contract
        return self._instruction or (contract.instruction if contract is not None else "")

    # Topics and services

    def _on_instruction(self, message: String) -> None:
        self._instruction = message.data
        self.get_logger().info(f"instruction: {message.data!r}")

    def _on_intervention(self, message: Bool) -> None:
        """Ask anew where a person has let go: the control node plays no chunk from before."""
        has_let_go = self._a_person_drives and not message.data
        self._a_person_drives = message.data
        if has_let_go and self._worker is not None and self._continuation is not None:
            now_ns = self._now_ns()
            # In this order: no chunk from while the person drove may be remembered in between.
            self._worker.ask_anew(now_ns)
            self._continuation.forget(now_ns)

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if not bring_up(self) or self._worker is None:
            response.message = "the node could not be configured; its log says what is wrong"
            return response
        self._is_stopped = False
        self._control_watch.run.begin()
        self._worker.start()
        response.success, response.message = True, "started"
        return response

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._is_stopped = True
        self._stops += 1
        self._stop_inference("~/stop was called")
        self._publish_status()  # a task that is about to start this node must not do it
        response.success, response.message = True, "stopped"
        return response

    async def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._worker is None:
            response.message = "the node is not configured: there is no policy to reset"
            return response
        done: Future[None] = Future(executor=self.executor)
        outcome = self._worker.reset()
        self._publish_stop("~/reset was called")  # after it, no chunk from before the reset
        outcome.add_done_callback(lambda _: done.set_result(None))
        await done
        error = outcome.exception()
        response.success = error is None
        response.message = f"{outcome.result()}" if error is None else str(error)
        return response

    def _task_timeout_s(self) -> float:
        contract = self._contract
        return contract.task_timeout_s if contract is not None else math.inf

    def _stop_by_itself(self, reason: str) -> None:
        """Stop as `~/stop` does: nobody would end what was begun, or has begun what would go on."""
        if self._worker is not None and self._worker.started:
            self.get_logger().error(f"stopping: {reason}")
            self._is_stopped = True
            self._stop_inference(reason, report=f"stopped: {reason}")

    def _on_description(self, topic: str, message: String) -> None:
        """Use a robot description, unless one from a preferred topic has arrived."""
        described, worker = self._described, self._worker
        if described is None or worker is None or not described.update(topic, message.data):
            return
        worker.renew_session()
        if described.problem:
            self.get_logger().error(described.problem)
        else:
            self.get_logger().info(f"the robot description on {topic} is used")

    # Chunks

    def _stop_inference(self, reason: str, *, report: str = "stopped") -> None:
        self._task_watch.release()
        if self._worker is not None and self._worker.started:
            self._worker.stop(report)
            self._publish_stop(reason)

    def _publish_stop(self, reason: str) -> None:
        if self._continuation is not None:
            self._continuation.forget(self._now_ns())
        self._chunks.stop(reason)

    def _publish_chunk(self, result: InferenceResult) -> None:
        """Publish a chunk; the worker calls this in its own thread."""
        described, continuation = self._described, self._continuation
        if described is None or continuation is None:
            return
        contract = described.contract
        steps = self._chunks.publish(
            contract, result, control_source=self._control_watch.run.source
        )
        continuation.remember(
            {k: result.action[k][:, :steps] for k in contract.action_keys if k in result.action},
            result.t0_ns,
            now_ns=self._now_ns(),
        )

    # Status

    def _tell_news(self) -> None:
        """Tell the server what the robot does where no request takes it there."""
        info, worker = self._robot_info, self._worker
        if info is not None and worker is not None and (news := info.news()):
            worker.tell(news)

    def status(self, now: Time) -> PolicyStatus:
        worker, streams = self._worker, self._streams
        report = worker.report if worker is not None else InferenceReport()
        health = streams.health(now.nanoseconds) if streams is not None else []
        status = policy_status(report, self._chunks, health)
        configured = self._contract.instruction if self._contract is not None else ""
        status.instruction = self._instruction or configured
        status.stops = self._stops
        status.image_resize = worker.image_resize if worker is not None else ""
        status.state, reason = self._state_and_reason(report)
        is_running = status.state == PolicyStatus.STATE_RUNNING
        warnings = list(streams.warnings(now.nanoseconds)) if streams is not None else []
        if is_running:
            warnings.extend(self._chunks.end_effectors.warnings())
        if worker is not None and is_running and worker.pace_warning:
            warnings.append(worker.pace_warning)
        if warnings:
            self.get_logger().warning("; ".join(warnings), throttle_duration_sec=WARNING_PERIOD_S)
        status.reason = "; ".join(filter(None, (reason, *warnings)))
        return status

    def _state_and_reason(self, report: InferenceReport) -> tuple[int, str]:
        worker = self._worker
        if not self._active:
            return PolicyStatus.STATE_STOPPED, "the node is not active"
        if worker is None or not worker.started:
            return PolicyStatus.STATE_STOPPED, report.reason
        if report.reason:
            return PolicyStatus.STATE_WAITING, report.reason
        return PolicyStatus.STATE_RUNNING, ""


def main(args: list[str] | None = None) -> int:
    """Run the policy node as a process."""
    return spin_node(lambda _: PolicyNode(), args)
