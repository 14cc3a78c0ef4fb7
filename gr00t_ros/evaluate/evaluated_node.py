# SPDX-License-Identifier: Apache-2.0
"""The policy node in this process, with what an evaluation has to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rclpy.context import Context
from rclpy.logging import LoggingSeverity
from rclpy.parameter import Parameter

from gr00t_policy_core.errors import PolicyError
from gr00t_policy_core.policy import BasePolicy
from gr00t_ros.contract.conditions import ASYNC
from gr00t_ros.contract.parameters import TOP
from gr00t_ros.convert.robot import Robot
from gr00t_ros.node.lifecycle import bring_up
from gr00t_ros.node.rejected_messages import RejectedMessages
from gr00t_ros.policy.inference_worker import InferenceReport
from gr00t_ros.policy.policy_node import PolicyNode

# The clock stands still while the node waits to be asked: a chunk that is played to its end, by
# that clock, is never followed by an inference of the node's own.
INFERENCE = "sync"


class EvaluatedNode(PolicyNode):
    """The policy node; what it does is seen at once, where its status shows it twice a second.

    Args:
        context: A context of its own.
        robot: Whose parameters it gets.
        policy: What it asks.
        task: The instruction.
    """

    def __init__(self, context: Context, robot: Robot, policy: BasePolicy, task: str) -> None:
        super().__init__(
            policy_factory=lambda settings: policy,
            context=context,
            namespace=robot.namespace,
            use_global_arguments=False,
            parameter_overrides=[
                Parameter(name, value=value) for name, value in _parameters(robot, task).items()
            ],
        )
        # It logs each pause; the evaluation counts them.
        self.get_logger().set_level(LoggingSeverity.ERROR)

    def destroy_node(self) -> None:
        """Leave the graph; other nodes of this name in the process log all again."""
        self.get_logger().set_level(LoggingSeverity.UNSET)
        super().destroy_node()

    def begin(self) -> None:
        """Configure and activate the node.

        Raises:
            PolicyError: It cannot be configured.
        """
        if not bring_up(self):
            raise PolicyError(self._problem or "the policy node cannot be activated")

    @property
    def inference(self) -> InferenceReport:
        """How the newest call to the policy ended."""
        return self._worker.report if self._worker is not None else InferenceReport()

    @property
    def received(self) -> Mapping[str, int]:
        """The messages that it has received, by stream."""
        return self._streams.received if self._streams is not None else {}

    @property
    def rejected(self) -> RejectedMessages:
        """The messages that it has rejected."""
        return self._streams.rejected if self._streams is not None else RejectedMessages()


def _parameters(robot: Robot, task: str) -> dict[str, Any]:
    only_async = {parameter.name for parameter in TOP if parameter.only_with is ASYNC}
    given = {name: v for name, v in robot.parameters.items() if name not in only_async}
    # Rates are watched by the steady clock, and a recording is played at any speed.
    rates = {f"{stream.name}.rate_hz": 0.0 for stream in robot.contract.streams}
    return {
        **given,
        **rates,
        "use_sim_time": True,
        "autostart": False,
        "end_with_pid": 0,
        "inference": INFERENCE,
        "instruction": task,
    }
