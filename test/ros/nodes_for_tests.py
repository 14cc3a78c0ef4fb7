# SPDX-License-Identifier: Apache-2.0
"""The two nodes as tests make them, and a peer that plays the robot and the operator."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from helpers import wait_until
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, ListParameters, SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from gr00t_ros.msg import (
    ActionChunk,
    ActionValues,
    ControlStatus,
    PolicyStatus,
    RecorderStatus,
    VisualizationStatus,
)
from gr00t_ros.node.diagnostics import Status
from gr00t_ros.node.lifecycle import ManagedNode
from gr00t_ros.policy.policy_node import PolicyNode

MakeNode = Callable[..., PolicyNode]
Drive = Callable[..., "Robot"]

STATUS_TYPES = {
    "policy_node": PolicyStatus,
    "control_node": ControlStatus,
    "recorder_node": RecorderStatus,
    "visualization_node": VisualizationStatus,
}

CONFIGURE = Transition.TRANSITION_CONFIGURE
CLEANUP = Transition.TRANSITION_CLEANUP
ACTIVATE = Transition.TRANSITION_ACTIVATE
DEACTIVATE = Transition.TRANSITION_DEACTIVATE


def patience(changes: dict[str, Any]) -> dict[str, Any]:
    """Parameters for a machine so busy that the joints and chunks of a test are late.

    Args:
        changes: What the test itself wants of `policies_for_tests.parameters`.
    """
    patient: dict[str, Any] = {"max_age_s": 60.0, "max_observation_age_s": 60.0}
    for key in ("arm", "gripper"):
        names = ("joints", "unmeasured", "when_holding")
        if not any(f"action__{key}__{name}" in changes for name in names):
            patient[f"action__{key}__max_following_error"] = 5.0
    return {**patient, **changes}


def close_node(node: ManagedNode) -> None:
    """Close a spinning node, in the thread that spins it."""
    closing = node.executor.create_task(node.close)
    wait_until(closing.done, what="the node is closed")
    closing.result()


def overrides(values: dict[str, Any]) -> list[Parameter]:
    return [Parameter(name, value=value) for name, value in values.items()]


class Operator:
    """Calls a node's services and listens to its status, as an operator's tools do."""

    def __init__(self, peer: Node, name: str) -> None:
        self._peer = peer
        self._name = name
        self._clients: dict[str, Any] = {}
        self.statuses: list[Status] = []
        status_type = STATUS_TYPES[name.rpartition("/")[2]]
        peer.create_subscription(status_type, f"{name}/status", self.statuses.append, 10)

    def call(self, service: str, kind: Any, request: Any, timeout_s: float = 60.0) -> Any:
        client = self._clients.get(service)
        if client is None:
            client = self._clients[service] = self._peer.create_client(
                kind, f"{self._name}/{service}"
            )
        wait_until(client.service_is_ready, what=f"the service {service}")
        same = self._peer.get_node_names().count(self._name)
        assert same <= 1, f"{same} nodes named {self._name} in this domain: one was left behind"
        future = client.call_async(request)
        wait_until(future.done, timeout_s, f"the answer of {service}")
        return future.result()

    def trigger(self, service: str) -> Trigger.Response:
        return self.call(service, Trigger, Trigger.Request())

    def change_state(self, *transitions: int) -> list[bool]:
        requests = [ChangeState.Request(transition=Transition(id=t)) for t in transitions]
        return [self.call("change_state", ChangeState, r).success for r in requests]

    def state(self) -> str:
        return str(self.call("get_state", GetState, GetState.Request()).current_state.label)

    def set_parameters(self, **values: Any) -> list[bool]:
        named = {name.replace("__", "."): value for name, value in values.items()}
        request = SetParameters.Request(parameters=[p.to_parameter_msg() for p in overrides(named)])
        response = self.call("set_parameters", SetParameters, request)
        return [result.successful for result in response.results]

    def delete_parameter(self, name: str) -> bool:
        nothing = Parameter(name, Parameter.Type.NOT_SET).to_parameter_msg()
        request = SetParameters.Request(parameters=[nothing])
        return bool(self.call("set_parameters", SetParameters, request).results[0].successful)

    def parameter_names(self) -> list[str]:
        response = self.call("list_parameters", ListParameters, ListParameters.Request())
        return list(response.result.names)

    def describe(self, names: Iterable[str]) -> list[Any]:
        request = DescribeParameters.Request(names=list(names))
        return list(self.call("describe_parameters", DescribeParameters, request).descriptors)

    def wait_for_status(
        self, predicate: Callable[[Status], object], what: str, timeout_s: float = 60.0
    ) -> Status:
        """The first status from now on that is as wanted."""
        seen = len(self.statuses)
        found: list[Status] = []

        def look() -> bool:
            found.extend(s for s in self.statuses[seen:] if predicate(s))
            return bool(found)

        try:
            wait_until(look, timeout_s, what)
        except AssertionError as error:
            last = self.statuses[-1:]
            raise AssertionError(f"{error}; the last status was {last}") from None
        return found[0]

    def wait_for_reason(self, text: str, timeout_s: float = 60.0) -> Status:
        return self.wait_for_status(lambda s: text in s.reason, f"the reason {text!r}", timeout_s)

    def wait_for_repeated(
        self, value: Callable[[Status], object], what: str, timeout_s: float
    ) -> None:
        """Returns when two statuses from now on, one after the other, have the same value."""
        seen = len(self.statuses)

        def look() -> bool:
            values = [value(s) for s in self.statuses[seen:]]
            return any(a == b for a, b in itertools.pairwise(values))

        wait_until(look, timeout_s, what)

    def wait_until_running(self, timeout_s: float = 60.0) -> Status:
        running = PolicyStatus.STATE_RUNNING
        return self.wait_for_status(lambda s: s.state == running, "running", timeout_s)


class Robot:
    """Publishes the streams of `policies_for_tests.parameters` at about 50 Hz while it lives.

    Joints come in an order that changes with every message.
    """

    def __init__(
        self,
        peer: Node,
        *,
        camera: bool = True,
        stamped: bool = True,
        now_ns: Callable[[], int] | None = None,
    ) -> None:
        self._peer = peer
        self._now_ns = now_ns or (lambda: peer.get_clock().now().nanoseconds)
        self._stamped = stamped
        self.joints = {"finger": 0.5, "elbow": -0.2, "shoulder": 0.1, "wheel": 9.0}
        self.pictures_on = camera
        self.arm_on = True
        self._turn = 0
        qos = qos_profile_sensor_data
        self._images = peer.create_publisher(Image, "front/image_raw", qos) if camera else None
        self._states = peer.create_publisher(JointState, "joint_states", qos)
        self._timer = peer.create_timer(0.02, self.publish)

    def publish(self) -> None:
        """Publish each stream once, with the present stamp."""
        stamp = Time(nanoseconds=self._now_ns()).to_msg()
        if self.arm_on:
            self._turn += 1
            names = list(np.roll(list(self.joints), self._turn))
            message = JointState(name=names, position=[self.joints[name] for name in names])
            if self._stamped:
                message.header.stamp = stamp
            self._states.publish(message)
        if self.pictures_on and self._images is not None:
            image = Image(height=2, width=3, step=9, encoding="rgb8", data=bytes(range(18)))
            if self._stamped:
                image.header.stamp = stamp
            self._images.publish(image)


def robot_and_chunks(
    ros_node: Node, operator: Operator, chunks: list[ActionChunk], **options: Any
) -> Robot:
    """A running robot, the node started, and a first chunk received."""
    robot = Robot(ros_node, **options)
    assert operator.trigger("start").success
    wait_until(lambda: chunks, what="a first chunk")
    return robot


def chunk_of(
    values: dict[str, np.ndarray], *, t0_ns: int, dt_s: float, chunk_id: int = 1
) -> ActionChunk:
    """A chunk message of arrays (horizon, D) by key, in SI units and radians."""
    actions = [
        ActionValues(name=key, dimension=v.shape[1], values=v.astype(np.float64).ravel().tolist())
        for key, v in values.items()
    ]
    horizon = len(next(iter(values.values())))
    message = ActionChunk(chunk_id=chunk_id, dt=dt_s, horizon=horizon, actions=actions)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(t0_ns, 1_000_000_000)
    return message


def quiet_for(events: list[Any], quiet_s: float = 0.3, timeout_s: float = 60.0) -> None:
    """Waits until nothing was added to `events` for a while."""
    last = [len(events), time.monotonic()]

    def quiet() -> bool:
        if len(events) != last[0]:
            last[:] = [len(events), time.monotonic()]
        return time.monotonic() - last[1] > quiet_s

    wait_until(quiet, timeout_s, "silence")


class SimulatedTime:
    """A published /clock."""

    def __init__(self, peer: Node, start_s: float = 1000.0) -> None:
        self._publisher = peer.create_publisher(Clock, "/clock", 10)
        self.now_s = start_s

    def ns(self) -> int:
        return round(self.now_s * 1e9)

    def run(self, until: Callable[[], object], what: str, step_s: float = 0.01) -> None:
        """Let time pass, at about twice its speed, until something is so."""

        def tick() -> object:
            self.now_s += 2.0 * step_s if step_s else 0.0
            self._publisher.publish(Clock(clock=Time(nanoseconds=self.ns()).to_msg()))
            return until()

        wait_until(tick, what=what)
