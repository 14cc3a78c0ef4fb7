# SPDX-License-Identifier: Apache-2.0
"""Commands of a page that arrive after those which were given later."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from dashboard_rig import DashboardRig
from helpers import wait_until
from late_services import LateServices
from slow_task_node import slow_task_node
from task_rig import spinning_node

from gr00t_ros.dashboard import task_link
from gr00t_ros.dashboard.commands import COMMANDS

Press = Callable[..., Any]


@pytest.fixture
def press() -> Iterator[Press]:
    """Calls something that waits for its answer, in a thread; it has the answer by the end."""
    threads: list[threading.Thread] = []

    def call(function: Callable[..., Any], *arguments: Any) -> None:
        threads.append(threading.Thread(target=function, args=arguments))
        threads[-1].start()

    yield call
    for thread in threads:
        thread.join(60.0)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("start", "stop", "services"),
    [
        ("go_live", "go_shadow", ("go_live", "go_shadow")),
        ("allow_motion", "stop_motion", ("start", "stop")),
    ],
)
def test_a_permission_that_arrives_after_it_was_withdrawn_is_withdrawn_again(
    rig: DashboardRig, press: Press, start: str, stop: str, services: tuple[str, str]
) -> None:
    with spinning_node("late_control") as node:
        names = [f"control_node/{name}" for name in services]
        control = LateServices(node, start=names[0], stop=names[1])
        clients = rig.server._link._clients
        for name in (start, stop):
            wait_until(clients[name].service_is_ready, what=f"the service of {name}")
        press(rig.command, start)
        wait_until(lambda: control.asked == 1, what="the start is on its way")
        rig.command(stop)
        assert control.done == ["stop"]
        control.arrive()
        wait_until(lambda: control.done == ["stop", "start", "stop"], what="the second stop")


def test_a_permission_that_is_given_up_is_withdrawn_when_it_arrives(
    rig: DashboardRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow = replace(COMMANDS["allow_motion"], answer_s=0.5)
    monkeypatch.setitem(COMMANDS, "allow_motion", allow)
    with spinning_node("late_control") as node:
        control = LateServices(node, start="control_node/start", stop="control_node/stop")
        clients = rig.server._link._clients
        for name in ("allow_motion", "stop_motion"):
            wait_until(clients[name].service_is_ready, what=f"the service of {name}")
        answer = rig.command("allow_motion")
        assert answer["message"] == (
            "control_node/start has not answered within 0.5 s; "
            "if it happens later, control_node/stop is called at once"
        )
        wait_until(lambda: control.asked == 1, what="the start is on its way")
        control.arrive()
        wait_until(lambda: control.done == ["start", "stop"], what="the stop")


def test_a_task_that_is_accepted_after_it_was_cancelled_is_cancelled_then(
    rig: DashboardRig, press: Press
) -> None:
    with slow_task_node() as task_node:
        task_node.may_accept.clear()
        tasks = rig.server._link.tasks
        wait_until(tasks._client.server_is_ready, what="the task node")
        wait_until(tasks._cancel.service_is_ready, what="the task node's cancel")
        press(rig.request, "POST", "task", {"instruction": "pick up the pear"})
        wait_until(task_node.is_asked.is_set, what="the goal is on its way")
        rig.request("POST", "task/cancel", {})
        task_node.may_accept.set()
        wait_until(task_node.is_cancelled.is_set, what="the cancel")
        task_node.is_at_rest.set()


def test_a_task_that_is_accepted_after_it_was_given_up_is_cancelled_then(
    rig: DashboardRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_link, "ANSWER_S", 0.5)
    with slow_task_node() as task_node:
        task_node.may_accept.clear()
        tasks = rig.server._link.tasks
        wait_until(tasks._client.server_is_ready, what="the task node")
        response = rig.request("POST", "task", {"instruction": "pick up the pear"})
        assert "if it happens later, the task is cancelled" in json.loads(response.body)["message"]
        wait_until(task_node.is_asked.is_set, what="the goal is on its way")
        task_node.may_accept.set()
        wait_until(task_node.is_cancelled.is_set, what="the cancel")
        task_node.is_at_rest.set()
