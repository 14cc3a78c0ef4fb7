# SPDX-License-Identifier: Apache-2.0
"""Calls services of other nodes, and waits for their answers while another thread spins."""

from __future__ import annotations

import threading
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

TIMEOUT_S = 60.0
# A request whose answer may be lost is sent again after this long, s: DDS loses the answer of a
# service that has not found its client yet, although the client has found the service.
AGAIN_S = 5.0


def call(
    node: Node, service_type: type[Any], service: str, request: Any, *, may_repeat: bool = False
) -> Any:
    """Call a service, and return its response.

    Args:
        node: Calls; another thread spins it.
        service_type: Class of the service.
        service: Its name.
        request: The request.
        may_repeat: Whether to ask again where no answer comes: to do it twice does no harm.

    Raises:
        TimeoutError: It is not there, or does not answer.
    """
    client = node.create_client(service_type, service)
    try:
        if not client.wait_for_service(TIMEOUT_S):
            raise TimeoutError(f"no service {service} within {TIMEOUT_S:g} s")
        answered = threading.Event()
        futures = []
        for _ in range(round(TIMEOUT_S / AGAIN_S) if may_repeat else 1):
            futures.append(client.call_async(request))
            futures[-1].add_done_callback(lambda _: answered.set())
            if answered.wait(AGAIN_S if may_repeat else TIMEOUT_S):
                return next(future for future in futures if future.done()).result()
        raise TimeoutError(f"{service} did not answer within {TIMEOUT_S:g} s")
    finally:
        node.destroy_client(client)


def call_trigger(node: Node, service: str) -> None:
    """Call a Trigger service, which may be called twice.

    Raises:
        TimeoutError: It is not there, or does not answer.
        RuntimeError: It answered that it could not.
    """
    response = call(node, Trigger, service, Trigger.Request(), may_repeat=True)
    if not response.success:
        raise RuntimeError(f"{service} failed: {response.message}")


def change_state(node: Node, name: str, transition: int) -> None:
    """Have a lifecycle node go through a transition.

    Args:
        node: Calls; another thread spins it.
        name: The lifecycle node.
        transition: A constant of lifecycle_msgs/msg/Transition.

    Raises:
        TimeoutError: The node is not there, or does not answer.
        RuntimeError: The transition failed.
    """
    request = ChangeState.Request(transition=Transition(id=transition))
    if not call(node, ChangeState, f"{name}/change_state", request).success:
        raise RuntimeError(f"{name} failed in its transition {transition}; its log says why")


def begin_scene(node: Node, seed: int) -> None:
    """Put the simulated arm home, and the cubes where a scene has them.

    Raises:
        TimeoutError: The simulation does not answer.
        RuntimeError: It could not.
    """
    seed_parameter = Parameter("scene_seed", value=seed).to_parameter_msg()
    request = SetParameters.Request(parameters=[seed_parameter])
    call(node, SetParameters, "sim_node/set_parameters", request, may_repeat=True)
    call_trigger(node, "sim_node/reset")
