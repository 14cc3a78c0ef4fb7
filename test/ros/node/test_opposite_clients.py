# SPDX-License-Identifier: Apache-2.0
"""A start that is carried out after a stop which was asked for later."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers import wait_until
from late_services import LateServices
from rclpy.node import Node
from std_srvs.srv import Trigger
from task_rig import spinning_node

from gr00t_ros.node.opposite_clients import OppositeClients

REQUEST = Trigger.Request()


@pytest.fixture
def node() -> Iterator[Node]:
    with spinning_node("opposites") as node:
        yield node


@pytest.fixture
def services(node: Node) -> LateServices:
    return LateServices(node)


def clients_of(node: Node, **options: bool) -> OppositeClients:
    """Clients of services that are there."""
    start, stop = (node.create_client(Trigger, name) for name in ("start", "stop"))
    clients = OppositeClients(start, stop, **options)
    for client in (clients.start, clients.stop):
        wait_until(client.service_is_ready, what=client.srv_name)
    return clients


@pytest.fixture
def clients(node: Node, services: LateServices) -> OppositeClients:
    return clients_of(node)


@pytest.fixture
def undoing(node: Node, services: LateServices) -> OppositeClients:
    return clients_of(node, undoes_late_starts=True)


def test_a_start_that_comes_after_a_later_stop_is_followed_by_another_stop(
    services: LateServices, clients: OppositeClients
) -> None:
    started = clients.start.call_async(REQUEST)
    clients.start.remove_pending_request(started)  # whoever called it has given up
    stopped = clients.stop.call_async(REQUEST)
    wait_until(stopped.done, what="the stop")
    services.arrive()
    wait_until(lambda: services.done == ["stop", "start", "stop"], what="the second stop")


def test_a_start_that_comes_in_time_stands(
    services: LateServices, clients: OppositeClients
) -> None:
    services.arrive()
    for client in (clients.stop, clients.start, clients.start):
        answer = client.call_async(REQUEST)
        wait_until(answer.done, what=client.srv_name)
    assert services.done == ["stop", "start", "start"]
    stopped = clients.stop.call_async(REQUEST)
    wait_until(stopped.done, what="the stop")
    assert services.done == ["stop", "start", "start", "stop"]


def test_a_start_that_was_given_up_is_undone_when_it_comes(
    services: LateServices, undoing: OppositeClients
) -> None:
    started = undoing.start.call_async(REQUEST)
    wait_until(lambda: services.asked == 1, what="the start is on its way")
    undoing.start.remove_pending_request(started)
    services.arrive()
    wait_until(lambda: services.done == ["start", "stop"], what="the stop")


def test_a_start_that_was_given_up_is_left_to_one_that_was_asked_for_since(
    services: LateServices, undoing: OppositeClients
) -> None:
    first = undoing.start.call_async(REQUEST)
    undoing.start.remove_pending_request(first)
    second = undoing.start.call_async(REQUEST)
    services.arrive()
    wait_until(lambda: first.done() and second.done(), what="both starts")
    third = undoing.start.call_async(REQUEST)
    wait_until(third.done, what="the third start")
    assert services.done == ["start"] * 3
