# SPDX-License-Identifier: Apache-2.0
"""Activates controllers of ros2_control with the node, and switches back after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rclpy.lifecycle import LifecycleNode

from gr00t_ros.interfaces.optional_types import optional_type, why_missing
from gr00t_ros.node.side_node import SideNode

LIST = optional_type("controller_manager_msgs", "srv", "ListControllers")
SWITCH = optional_type("controller_manager_msgs", "srv", "SwitchController")
ANSWER_S = 5.0  # longest wait for the controller manager
SWITCH_S = 3  # longest switch, s: its manager gives up before the node does
ACTIVE = "active"


class ControllerSwitchError(RuntimeError):
    """The controllers cannot be switched; the text says why."""


class NoAnswerError(ControllerSwitchError):
    """The controller manager does not answer in time; what it does later is not known."""


class ControllerSwitch:
    """Activates controllers, and deactivates those that hold the same joints.

    Args:
        node: The node whose activation needs the controllers.
        manager: Name of the controller manager.
        controllers: The controllers to activate.

    Raises:
        ControllerSwitchError: controller_manager_msgs is not installed.
    """

    def __init__(self, node: LifecycleNode, manager: str, controllers: Sequence[str]) -> None:
        missing = why_missing(SWITCH)
        if missing:
            raise ControllerSwitchError(f"activate_controllers: {missing}")
        self._manager = manager
        self._controllers = list(controllers)
        self._activated: list[str] = []
        self._deactivated: list[str] = []
        self._side_node = SideNode(node, "controllers")
        self._list = self._side_node.create_client(LIST, f"{manager}/list_controllers")
        self._switch = self._side_node.create_client(SWITCH, f"{manager}/switch_controller")

    def activate(self) -> None:
        """Activate the controllers that are not active yet.

        Raises:
            ControllerSwitchError: The manager does not answer, a controller is not loaded, or the
                manager refuses the switch. Nothing is switched then.
        """
        known = {one.name: one for one in self._call(self._list, LIST.Request()).controller}
        unknown = [name for name in self._controllers if name not in known]
        if unknown:
            raise ControllerSwitchError(
                f"{self._manager} has not loaded {', '.join(unknown)}; it has {', '.join(known)}"
            )
        wanted = [name for name in self._controllers if known[name].state != ACTIVE]
        needed = {part for name in wanted for part in known[name].required_command_interfaces}
        in_the_way = [
            one.name
            for one in known.values()
            if one.state == ACTIVE
            and one.name not in self._controllers
            and needed.intersection(one.claimed_interfaces)
        ]
        try:
            self._request(activate=wanted, deactivate=in_the_way)
        except NoAnswerError:
            # The manager takes one request after the other: what it still does, it then undoes.
            self._switch.call_async(_switch_request(activate=in_the_way, deactivate=wanted))
            raise
        self._activated, self._deactivated = wanted, in_the_way

    def switch_back(self) -> None:
        """Undo what `activate` has done; controllers that were active before stay so.

        Raises:
            ControllerSwitchError: The manager does not answer, or refuses.
        """
        activated, deactivated = self._activated, self._deactivated
        self._activated, self._deactivated = [], []
        self._request(activate=deactivated, deactivate=activated)

    def destroy(self) -> None:
        """End the clients."""
        self._side_node.destroy_node()

    def _request(self, *, activate: list[str], deactivate: list[str]) -> None:
        if not activate and not deactivate:
            return
        request = _switch_request(activate=activate, deactivate=deactivate)
        answer = self._call(self._switch, request)
        if not answer.ok:
            message = getattr(answer, "message", "")  # since Jazzy
            raise ControllerSwitchError(
                f"{self._manager} refuses to activate {activate} and to deactivate {deactivate}"
                f"{f': {message}' if message else ', its log says why'}"
            )

    def _call(self, client: Any, request: Any) -> Any:
        if not self._side_node.wait_for(client.service_is_ready, ANSWER_S):
            raise ControllerSwitchError(f"no service {client.service_name}: ros2_control is absent")
        future = client.call_async(request)
        if not self._side_node.wait_for(future.done, ANSWER_S):
            raise NoAnswerError(f"{client.service_name} does not answer within {ANSWER_S:g} s")
        return future.result()


def _switch_request(*, activate: list[str], deactivate: list[str]) -> Any:
    request = SWITCH.Request(
        activate_controllers=activate,
        deactivate_controllers=deactivate,
        strictness=SWITCH.Request.STRICT,
        activate_asap=True,
    )
    request.timeout.sec = SWITCH_S
    return request
