# SPDX-License-Identifier: Apache-2.0
"""The policy node: observation streams in, action chunks out, inference in a thread beside."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import State as LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.task import Future
from rclpy.time import Time
from std_msgs.msg import String
from std_srvs.srv import Trigger

from gr00t_policy_core.control.replan import ReplanTimer
from gr00t_policy_core.control.schedule import BlendMode
from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_policy_core.policy import BasePolicy
from gr00t_policy_core.resize import first_resize
from gr00t_ros.contract.compatibility import hold_against, untold_actions
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.policy_settings import PolicySettings
from gr00t_ros.msg import ActionChunk, PolicyStatus
from gr00t_ros.node.chunk_messages import CHUNK_TOPIC, chunk_message, stop_message
from gr00t_ros.node.lifecycle import ManagedNode, bring_up, spin_node
from gr00t_ros.node.node_parameters import read_contract
from gr00t_ros.node.qos import CHUNK, INSTRUCTION
from gr00t_ros.policy.continuation import CAPABILITY, Continuation
from gr00t_ros.policy.inference_worker import Answer, InferenceWorker, Report, Session
from gr00t_ros.policy.observation_builder import NotReadyError, ObservationBuilder, TimedObservation
from gr00t_ros.policy.policy_backend import make_policy, require_loaded, takes_jpeg
from gr00t_ros.policy.streams import Sources

STARVING_LOG_PERIOD_S = 10.0
CLOSE_S = 2.0  # for the worker to end; a policy that hangs is left behind


class PolicyNode(ManagedNode):
    """Asks a policy for action chunks while active and started.

    Publishes `action_chunk` and `~/status`; offers `~/start`, `~/stop` and `~/reset`; listens to
    `~/instruction`. A chunk of horizon 0 tells the control node to stop playing at once.

    Args:
        policy_factory: Makes the policy of the parameters; a test may give another.
        node_arguments: Passed on to rclpy, for example `parameter_overrides`.
    """

    def __init__(
        self,
        *,
        policy_factory: Callable[[PolicySettings], BasePolicy] = make_policy,
        **node_arguments: Any,
    ) -> None:
        super().__init__("policy_node", **node_arguments)
        self._policy_factory = policy_factory
        self._policy: BasePolicy | None = None
        self._contract: Contract | None = None
        self._sources: Sources | None = None
        self._worker: InferenceWorker | None = None
        self._instruction = ""
        self._continuation: Continuation | None = None
        self._timer: ReplanTimer | None = None
        self._chunk_id = 0
        self._source = f"{self.get_fully_qualified_name()}#{secrets.token_hex(4)}"
        self._is_stopped = False  # by ~/stop: in force until ~/start, over every transition
        self._t0_ns: int | None = None
        self._active = False
        self._chunks = self.create_lifecycle_publisher(ActionChunk, CHUNK_TOPIC, CHUNK)
        self.create_subscription(String, "~/instruction", self._on_instruction, INSTRUCTION)
        self.create_service(Trigger, "~/start", self._on_start)
        self.create_service(Trigger, "~/stop", self._on_stop)
        # A reset waits for the policy: others must be served meanwhile.
        self.create_service(
            Trigger, "~/reset", self._on_reset, callback_group=ReentrantCallbackGroup()
        )

    def configure(self) -> None:
        contract = read_contract(self)
        self._policy = policy = self._policy_factory(contract.policy)
        try:
            _require_fit(contract, policy)
        except SpecError:
            raise
        except (PolicyError, NotReadyError) as error:
            self.get_logger().warning(f"the policy does not answer yet, going on without: {error}")
        self._contract = contract
        self._sources = Sources(self, contract, self._on_message)
        self._sources.subscribe()
        self._worker = InferenceWorker(
            policy=policy,
            prepare=self._prepare,
            publish=self._publish_chunk,
            logger=self.get_logger(),
            now_s=self._now_s,
        )

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        self._active = True
        if self.autostart and not self._is_stopped and self._worker is not None:
            self._worker.start()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop_inference()
        self._active = False
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._instruction = ""
        return super().on_cleanup(state)

    def close(self) -> None:
        self._stop_inference()
        worker, sources, policy = self._worker, self._sources, self._policy
        self._worker = self._sources = self._policy = self._contract = None
        self._active = False
        if sources is not None:
            sources.destroy()
        if worker is not None and not worker.close(CLOSE_S):
            self.get_logger().warning("the policy hangs in a call; it is left to its timeout")
            return
        if policy is not None:
            _close(policy)

    def _now_s(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _on_message(self) -> None:
        if self._worker is not None:
            self._worker.notice_message()

    def _on_instruction(self, message: String) -> None:
        self._instruction = message.data
        self.get_logger().info(f"instruction: {message.data!r}")

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if not bring_up(self) or self._worker is None:
            response.message = "the node could not be configured; its log says what is wrong"
            return response
        self._is_stopped = False
        self._worker.start()
        response.success, response.message = True, "started"
        return response

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._is_stopped = True
        self._stop_inference()
        response.success, response.message = True, "stopped"
        return response

    async def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._worker is None:
            response.message = "the node is not configured: there is no policy to reset"
            return response
        done: Future[None] = Future(executor=self.executor)
        outcome = self._worker.reset()
        self._publish_stop()  # no chunk from before the reset can follow it any more
        outcome.add_done_callback(lambda _: done.set_result(None))
        await done
        error = outcome.exception()
        response.success = error is None
        response.message = f"{outcome.result()}" if error is None else str(error)
        return response

    def _stop_inference(self) -> None:
        if self._worker is not None and self._worker.started:
            self._worker.stop()
            self._publish_stop()

    def _prepare(self, policy: BasePolicy) -> Session:
        """Called in the worker's thread."""
        contract, sources = self._contract, self._sources
        if contract is None or sources is None:
            raise PolicyError("the node is being cleaned up")
        configs = _require_fit(contract, policy)
        capabilities = policy.get_capabilities()
        self._tell_what_is_missing(contract, capabilities)
        self._tell_of_untold_actions(untold_actions(contract, configs))
        builder = ObservationBuilder(
            contract,
            configs,
            sources.buffers,
            takes_jpeg=takes_jpeg(contract.policy, capabilities),
            refusals=sources.refusals,
        )
        horizon = len(configs["action"].delta_indices)

        def build() -> TimedObservation:
            instruction = self._instruction or contract.instruction
            return builder.build(self.get_clock().now().nanoseconds, instruction)

        timer = self._timer = ReplanTimer(
            chunk_s=(horizon - 1) / contract.action_rate_hz,
            step_s=1.0 / contract.action_rate_hz,
            interval_s=contract.replan_interval_s,
            sync=contract.inference == "sync",
        )
        self._continuation = _continue_chunks(contract, capabilities, timer)
        if self._continuation is None:
            return Session(build, timer)
        return Session(build, timer, self._continuation.options)

    def _tell_what_is_missing(self, contract: Contract, capabilities: Sequence[str]) -> None:
        """Once each, since this is asked again after every failure."""
        warn = self.get_logger().warning
        settings = contract.policy
        if contract.motion.schedule.blend is BlendMode.RTC and CAPABILITY not in capabilities:
            warn(
                "blend: rtc is set, but the policy cannot continue chunks: offset_fade is used",
                once=True,
            )
        if settings.image_encoding == "jpeg" and not takes_jpeg(settings, capabilities):
            warn(
                "policy.image_encoding: jpeg is asked for, but the policy takes pixels only",
                once=True,
            )
        if settings.resize and first_resize(capabilities) is None:
            warn(
                "policy.resize is asked for, but the policy does not say what size it makes "
                "pictures first: they keep theirs",
                once=True,
            )

    def _tell_of_untold_actions(self, names: Sequence[str]) -> None:
        if names:
            self.get_logger().warning(
                f"the policy does not say (action_configs) whether {', '.join(names)} are absolute "
                "values: they are taken for positions",
                once=True,
            )

    def _publish_chunk(self, answer: Answer) -> None:
        """Called in the worker's thread."""
        contract = self._contract
        if contract is None:
            return
        message = chunk_message(
            contract,
            answer.action,
            chunk_id=self._chunk_id + 1,
            t0=Time(nanoseconds=answer.t0_ns).to_msg(),
            policy_time_s=answer.round_trip_s,
            source=self._source,
        )
        self._chunk_id += 1
        self._t0_ns = answer.t0_ns
        if self._continuation is not None:
            self._continuation.remember(
                {output.key: answer.action[output.key] for output in contract.action},
                answer.t0_ns,
                now_ns=self.get_clock().now().nanoseconds,
            )
        self._chunks.publish(message)

    def _publish_stop(self) -> None:
        now = self.get_clock().now()
        if self._continuation is not None:
            self._continuation.forget(now.nanoseconds)
        self._chunks.publish(
            stop_message(chunk_id=self._chunk_id, now=now.to_msg(), source=self._source)
        )

    def status(self, now: Time) -> PolicyStatus:
        report = self._worker.report if self._worker is not None else Report()
        reason = report.reason
        if not self._active:
            reason = "the node is not active"
        status = PolicyStatus(
            state=self._state(reason),
            reason=reason,
            observation_age_s=math.nan,
            round_trip_s=report.round_trip_s,
            policy_time_s=report.policy_time_s,
            chunk_id=self._chunk_id,
            inferences=report.inferences,
            inference_errors=report.errors,
            inferences_skipped=report.skipped,
        )
        if self._t0_ns is not None:
            status.observation_age_s = (now.nanoseconds - self._t0_ns) * 1e-9
        if self._sources is not None:
            self._add_streams(status, self._sources, now.nanoseconds)
        self._add_complaint(status)
        return status

    def _add_streams(self, status: PolicyStatus, sources: Sources, now_ns: int) -> None:
        health = sources.health(now_ns)
        status.stream_names = [stream.name for stream in health]
        status.stream_ages_s = [stream.age_s for stream in health]
        status.stream_rates_hz = [stream.rate_hz for stream in health]
        status.stream_expected_hz = [stream.expected_hz for stream in health]
        starving = sources.starving(now_ns)
        if starving:
            self.get_logger().warning(
                f"starving: {'; '.join(starving)} (large images? see config/fastdds.xml)",
                throttle_duration_sec=STARVING_LOG_PERIOD_S,
            )
        refused = sources.refusals.news()
        if refused:
            self.get_logger().warning(
                "; ".join(refused), throttle_duration_sec=STARVING_LOG_PERIOD_S
            )
        status.reason = "; ".join([r for r in (status.reason, *starving, *refused) if r])

    def _add_complaint(self, status: PolicyStatus) -> None:
        """A policy that cannot keep up runs, but nobody should have to guess why the arm stops."""
        complaint = self._timer.pace_problem if self._timer is not None else ""
        if complaint and status.state == PolicyStatus.STATE_RUNNING:
            status.reason = "; ".join([r for r in (status.reason, complaint) if r])
            self.get_logger().warning(complaint, throttle_duration_sec=STARVING_LOG_PERIOD_S)

    def _state(self, reason: str) -> int:
        if not self._active or self._worker is None or not self._worker.started:
            return PolicyStatus.STATE_STOPPED
        return PolicyStatus.STATE_WAITING if reason else PolicyStatus.STATE_RUNNING


def _require_fit(contract: Contract, policy: BasePolicy) -> dict[str, Any]:
    """The policy's modality configs, held against the contract."""
    require_loaded(policy)
    configs = policy.get_modality_config()
    if "action" not in configs:
        raise SpecError("the policy does not say what it needs", [f"it told only {list(configs)}"])
    hold_against(contract, configs, policy.get_dimensions(), capabilities=policy.get_capabilities())
    return configs


def _continue_chunks(
    contract: Contract, capabilities: Sequence[str], timer: ReplanTimer
) -> Continuation | None:
    if contract.motion.schedule.blend is not BlendMode.RTC or CAPABILITY not in capabilities:
        return None
    step_s = 1.0 / contract.action_rate_hz
    return Continuation(step_s=step_s, latency_s=lambda: timer.latency.value_s)


def _close(policy: BasePolicy) -> None:
    close = getattr(policy, "close", None)
    if close is not None:
        close()


def main(args: list[str] | None = None) -> int:
    """Run the policy node as a process."""
    return spin_node(lambda _: PolicyNode(), args)
