# SPDX-License-Identifier: Apache-2.0
"""Whether the task that drives the policy node can still stop it."""

from __future__ import annotations

import pytest

from gr00t_ros.msg import TaskStatus
from gr00t_ros.node.silence import CHECK_S
from gr00t_ros.policy.task_watch import DRIVING, TaskDriver

TIMEOUT_S = 3.0


def status(state: int, source: str = "/task_node#1") -> TaskStatus:
    return TaskStatus(state=state, source=source)


def silence(driver: TaskDriver, for_s: float) -> str:
    """What a driver says after looks that follow one another for a time."""
    said = ""
    for _ in range(round(for_s / CHECK_S)):
        said = said or driver.wait(CHECK_S, TIMEOUT_S)
    return said


@pytest.mark.parametrize("state", DRIVING)
def test_a_task_whose_node_falls_silent_is_lost(state: int) -> None:
    driver = TaskDriver()
    assert not driver.receive(status(state))
    assert not silence(driver, TIMEOUT_S)
    assert "has sent no status for 3.2 s while its task ran" in driver.wait(CHECK_S, TIMEOUT_S)


def test_a_node_that_reports_is_alive() -> None:
    driver = TaskDriver()
    for _ in range(10):
        assert not driver.receive(status(TaskStatus.STATE_RUNNING))
        assert not silence(driver, TIMEOUT_S)


def test_another_run_does_not_vouch_for_the_task_until_it_has_one_of_its_own() -> None:
    driver = TaskDriver()
    driver.receive(status(TaskStatus.STATE_RUNNING))
    for _ in range(4):
        assert not driver.receive(status(TaskStatus.STATE_READY, "/task_node#2"))
        driver.wait(CHECK_S, TIMEOUT_S)
    assert silence(driver, TIMEOUT_S)
    driver.receive(status(TaskStatus.STATE_STARTING, "/task_node#2"))
    assert driver.source == "/task_node#2"
    assert not silence(driver, TIMEOUT_S)


def test_a_task_that_ends_without_a_stop_is_noticed_and_one_with_a_stop_is_not() -> None:
    driver = TaskDriver()
    driver.receive(status(TaskStatus.STATE_RUNNING))
    assert "has not stopped this node" in driver.receive(status(TaskStatus.STATE_READY))
    driver.release()
    assert not driver.receive(status(TaskStatus.STATE_READY))


def test_who_starts_the_node_while_a_task_brakes_does_so_without_it() -> None:
    driver = TaskDriver()
    driver.receive(status(TaskStatus.STATE_RUNNING))
    driver.release()
    assert not driver.receive(status(TaskStatus.STATE_STOPPING))
    assert not driver.receive(status(TaskStatus.STATE_READY))
    assert not silence(driver, 10 * TIMEOUT_S)


def test_a_node_that_was_busy_has_its_messages_still_before_it() -> None:
    driver = TaskDriver()
    driver.receive(status(TaskStatus.STATE_STARTING))
    assert not driver.wait(60.0, TIMEOUT_S)
    assert not driver.receive(status(TaskStatus.STATE_RUNNING))
    assert not silence(driver, TIMEOUT_S)
