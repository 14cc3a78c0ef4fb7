# SPDX-License-Identifier: Apache-2.0
"""activate_controllers against a controller manager over DDS."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from action_servers import TRAJECTORY, Serve
from helpers import wait_until
from motion_rig import Rig
from nodes_for_tests import ACTIVATE, CONFIGURE, DEACTIVATE, overrides
from policies_for_tests import parameters
from rclpy.node import Node

from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.node.side_node import SideNode

srv = pytest.importorskip("controller_manager_msgs.srv")
msg = pytest.importorskip("controller_manager_msgs.msg")
actions = pytest.importorskip("control_msgs.action")
ARM = ["shoulder/position", "elbow/position"]


class Manager:
    """A controller manager with an arm controller, one that holds its joints, and a broadcaster."""

    def __init__(self, peer: Node) -> None:
        self.refusal = ""
        self.may_switch = threading.Event()
        self.may_switch.set()
        self.states = {"arm_controller": "inactive", "teleop": "active", "broadcaster": "active"}
        self.requests: list[tuple[list[str], list[str], int]] = []
        peer.create_service(srv.ListControllers, "/controller_manager/list_controllers", self._list)
        peer.create_service(
            srv.SwitchController, "/controller_manager/switch_controller", self._switch
        )

    def _list(self, _: Any, response: Any) -> Any:
        for name, state in self.states.items():
            needed = [] if name == "broadcaster" else ARM
            claimed = needed if state == "active" else []
            response.controller.append(
                msg.ControllerState(
                    name=name,
                    state=state,
                    required_command_interfaces=needed,
                    claimed_interfaces=claimed,
                )
            )
        return response

    def _switch(self, request: Any, response: Any) -> Any:
        self.may_switch.wait(60.0)
        on, off = list(request.activate_controllers), list(request.deactivate_controllers)
        self.requests.append((on, off, request.strictness))
        response.ok, response.message = not self.refusal, self.refusal
        if response.ok:
            self.states.update(dict.fromkeys(on, "active"))
            self.states.update(dict.fromkeys(off, "inactive"))
        return response


@pytest.fixture
def manager(ros_node: Node) -> Iterator[Manager]:
    node = SideNode(ros_node, "manager")  # answers while the control node is busy
    yield Manager(node)
    node.destroy_node()


def configured(rig: Rig, *controllers: str) -> ControlNode:
    types = {f"action__{key}__type": "joint_state" for key in ("arm", "gripper")}
    values = parameters(activate_controllers=list(controllers), **types)
    node = ControlNode(context=rig._context, parameter_overrides=overrides(values))
    rig._live(node)
    assert rig.operator.change_state(CONFIGURE) == [True]
    return node


def test_controllers_are_activated_with_the_node_and_switched_back_after_it(
    rig: Rig, manager: Manager
) -> None:
    before = dict(manager.states)
    configured(rig, "arm_controller")
    assert rig.operator.change_state(ACTIVATE) == [True]
    assert manager.states == {
        "arm_controller": "active",
        "teleop": "inactive",
        "broadcaster": "active",
    }
    assert rig.operator.change_state(DEACTIVATE) == [True]
    assert manager.states == before
    assert [strictness for *_, strictness in manager.requests] == [2, 2]


def test_a_controller_that_is_active_already_stays_active(rig: Rig, manager: Manager) -> None:
    configured(rig, "broadcaster")
    assert rig.operator.change_state(ACTIVATE, DEACTIVATE) == [True, True]
    assert manager.requests == []


def test_a_controller_that_still_brings_the_robot_to_rest_is_not_switched_off(
    rig: Rig, manager: Manager, serve: Serve
) -> None:
    """It would stop the arm at once, by no limit at all."""
    serve(actions.FollowJointTrajectory, "jtc/follow")
    before = dict(manager.states)
    slow = {f"action__{key}__max_acceleration": 0.2 for key in ("arm", "gripper")}
    rig.start(activate_controllers=["arm_controller"], **TRAJECTORY, **slow)
    rig.play_until(rig.is_moving, "it moves", horizon=60)
    rig.cut_braking_short()
    assert rig.operator.change_state(DEACTIVATE) == [True]
    assert manager.states == before | {"arm_controller": "active", "teleop": "inactive"}


@pytest.mark.parametrize(
    ("controllers", "refusal", "reason"),
    [
        (("arm_controler",), "", "has not loaded arm_controler; it has arm_controller, teleop"),
        (("arm_controller",), "joint shoulder is in an error", "joint shoulder is in an error"),
    ],
)
def test_a_refusal_is_named_and_the_node_stays_inactive(
    rig: Rig, manager: Manager, controllers: tuple[str, ...], refusal: str, reason: str
) -> None:
    manager.refusal = refusal
    before = dict(manager.states)
    configured(rig, *controllers)
    assert rig.operator.change_state(ACTIVATE) == [False]
    rig.operator.wait_for_reason(reason)
    assert rig.operator.state() == "inactive"
    assert manager.states == before


def test_without_a_controller_manager_the_node_stays_inactive(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gr00t_ros.control.controller_switch.ANSWER_S", 0.2)
    configured(rig, "arm_controller")
    assert rig.operator.change_state(ACTIVATE) == [False]
    rig.operator.wait_for_reason("no service /controller_manager/list_controllers")


def test_what_a_slow_controller_manager_switches_too_late_is_switched_back(
    rig: Rig, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a node that is not active would leave the joints to its own controller."""
    monkeypatch.setattr("gr00t_ros.control.controller_switch.ANSWER_S", 1.0)
    before = dict(manager.states)
    configured(rig, "arm_controller")
    manager.may_switch.clear()
    assert rig.operator.change_state(ACTIVATE) == [False]
    rig.operator.wait_for_reason("/controller_manager/switch_controller does not answer")
    manager.may_switch.set()
    wait_until(lambda: len(manager.requests) == 2, what="it is switched back")
    assert manager.states == before
