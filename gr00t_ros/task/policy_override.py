# SPDX-License-Identifier: Apache-2.0
"""Other parameters of the policy node for one goal, and its own ones again afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.client import Client
from rclpy.parameter import Parameter

from gr00t_ros.task.driven_nodes import DrivenNodes
from gr00t_ros.task.outcome import TaskEnd, Termination

Ask = Callable[[Client, Any, float], Any]

ANSWER_S = 10.0
TRANSITION_S = 600.0  # to configure may mean to load a model

# From each primary state, the transitions that lead to the unconfigured one.
UNCONFIGURE = {
    State.PRIMARY_STATE_ACTIVE: (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP),
    State.PRIMARY_STATE_INACTIVE: (Transition.TRANSITION_CLEANUP,),
    State.PRIMARY_STATE_UNCONFIGURED: (),
}
CONFIGURE = {
    State.PRIMARY_STATE_ACTIVE: (
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
    ),
    State.PRIMARY_STATE_INACTIVE: (Transition.TRANSITION_CONFIGURE,),
    State.PRIMARY_STATE_UNCONFIGURED: (),
}


class PolicyOverride:
    """Replaces parameters `policy.…` of the policy node, which reads them in `configure`.

    Args:
        nodes: The services of the policy node.
        ask: Calls a service and returns the response, within a time in s; raises `TaskEnd` if
            there is none.
    """

    def __init__(self, nodes: DrivenNodes, ask: Ask) -> None:
        self._nodes = nodes
        self._ask = ask
        self._replaced: list[ParameterMessage] = []
        self._state_before = State.PRIMARY_STATE_UNCONFIGURED

    def apply(self, parameters: Mapping[str, Any]) -> None:
        """Set the parameters; the node is unconfigured afterwards.

        Raises:
            TaskEnd: The node rejects them, or does not answer.
        """
        names = list(parameters)
        request = GetParameters.Request(names=names)
        values = self._ask(self._nodes.get_parameters, request, ANSWER_S).values
        self._state_before = self._unconfigure()
        self._replaced = [
            ParameterMessage(name=name, value=value)
            for name, value in zip(names, values, strict=False)
        ]
        self._set([_message(name, value) for name, value in parameters.items()])

    def restore(self) -> None:
        """Set what was replaced, and bring the node back into the state that it was in.

        Raises:
            TaskEnd: The node rejects it, or does not answer.
        """
        if not self._replaced:
            return
        self._unconfigure()
        self._set([_restorable(parameter) for parameter in self._replaced])
        self._change(CONFIGURE[self._state_before])

    def _unconfigure(self) -> int:
        state = int(self._ask(self._nodes.get_state, GetState.Request(), ANSWER_S).current_state.id)
        if state not in UNCONFIGURE:
            raise TaskEnd(Termination.FAULT, "policy_node is in the middle of a transition")
        self._change(UNCONFIGURE[state])
        return state

    def _change(self, transitions: tuple[int, ...]) -> None:
        for number in transitions:
            request = ChangeState.Request(transition=Transition(id=number))
            if not self._ask(self._nodes.change_state, request, TRANSITION_S).success:
                raise TaskEnd(
                    Termination.FAULT,
                    f"policy_node failed in its transition {number}; its log says why",
                )

    def _set(self, parameters: list[ParameterMessage]) -> None:
        response = self._ask(
            self._nodes.set_parameters, SetParameters.Request(parameters=parameters), ANSWER_S
        )
        failed = [
            f"{parameter.name}: {result.reason or 'rejected'}"
            for parameter, result in zip(parameters, response.results, strict=False)
            if not result.successful
        ]
        if failed:
            raise TaskEnd(Termination.FAULT, f"policy_node rejects {'; '.join(failed)}")


def _message(name: str, value: Any) -> ParameterMessage:
    if value == []:  # an empty list has no type by itself
        return Parameter(name, Parameter.Type.STRING_ARRAY, []).to_parameter_msg()
    return Parameter(name, value=value).to_parameter_msg()


def _restorable(parameter: ParameterMessage) -> ParameterMessage:
    """The same parameter; one without a value is an empty list, which ROS cannot tell from it."""
    if parameter.value.type == ParameterType.PARAMETER_NOT_SET:
        return _message(parameter.name, [])
    return parameter
