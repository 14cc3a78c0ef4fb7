# SPDX-License-Identifier: Apache-2.0
"""The policy node tells the server what its robot is doing."""

from __future__ import annotations

from helpers import wait_until
from rclpy.node import Node

from gr00t_ros.msg import ControlStatus, TaskCount, TaskResult, TaskStatus
from gr00t_ros.node.qos import STATUS
from gr00t_ros.policy.robot_info import CONTROL_STATUS_TOPIC, TELL_AGAIN_S, RobotInfo
from gr00t_ros.policy.task_tally import MAX_RUNS, TaskTally


def test_the_status_of_the_control_node_goes_with_the_options(ros_node: Node) -> None:
    info = RobotInfo(ros_node, robot="left", task=lambda: "pick up the apple")
    assert info.with_info({"rtc": 1}, ("jpeg",)) == {"rtc": 1}
    assert info.with_info(None, ()) is None
    publisher = ros_node.create_publisher(ControlStatus, CONTROL_STATUS_TOPIC, STATUS)
    wait_until(publisher.get_subscription_count, what="it listens")

    def tell(state: int, reason: str, holds: int) -> None:
        publisher.publish(ControlStatus(state=state, reason=reason, holds=holds))

    tell(ControlStatus.STATE_RUNNING, "", 5)
    tell(ControlStatus.STATE_HOLDING, "holding: the position of elbow is 0.51 s old", 6)
    tell(ControlStatus.STATE_RUNNING, "", 6)
    tell(ControlStatus.STATE_HOLDING, "holding: the position of elbow is 0.73 s old", 8)

    def told() -> dict[str, object]:
        options = info.with_info({"rtc": 1}, ("client_info",))
        assert options is not None
        assert options["rtc"] == 1
        return options["client_info"]

    wait_until(lambda: told()["holds"] == {"the position of elbow is # s old": 3}, what="3 holds")
    assert told() == {
        "robot": "left",
        "task": "pick up the apple",
        "state": "holding",
        "reason": "holding: the position of elbow is 0.73 s old",
        "outcomes": {},
        "holds": {"the position of elbow is # s old": 3},
    }
    info.destroy()


def test_news_are_what_no_request_has_told(ros_node: Node) -> None:
    clock_s, task = [100.0], ["pick up the apple"]
    info = RobotInfo(ros_node, robot="left", task=lambda: task[0], now_s=lambda: clock_s[0])
    news = info.news()
    assert news is not None
    assert news["task"] == "pick up the apple"
    assert info.news() is None
    task[0] = "pick up the pear"
    assert info.with_info(None, ("client_info",)) is not None
    assert info.news() is None  # the request has told it
    clock_s[0] += TELL_AGAIN_S
    assert info.news() is not None
    info.destroy()


def counted(termination: int, outcome: int, count: int) -> TaskCount:
    return TaskCount(termination=termination, outcome=outcome, count=count)


def test_outcomes_are_counted_by_what_they_mean_and_unknown_ones_by_their_end() -> None:
    tally = TaskTally()
    counts = [
        counted(TaskResult.TERMINATION_ENDER, TaskResult.OUTCOME_SUCCESS, 7),
        counted(TaskResult.TERMINATION_ENDER, TaskResult.OUTCOME_FAILURE, 1),
        counted(TaskResult.TERMINATION_TIME_LIMIT, TaskResult.OUTCOME_FAILURE, 2),
        counted(TaskResult.TERMINATION_TAKEN_OVER, TaskResult.OUTCOME_UNKNOWN, 1),
    ]
    tally.update(TaskStatus(source="task_node#1", counts=counts))
    tally.update(TaskStatus(source="task_node#1", counts=counts))
    assert tally.outcomes() == {"success": 7, "failure": 3, "unknown: taken over": 1}


def test_a_task_node_that_begins_anew_adds_to_what_was_counted() -> None:
    tally = TaskTally()
    for run in range(MAX_RUNS + 10):
        counts = [counted(TaskResult.TERMINATION_FAULT, TaskResult.OUTCOME_UNKNOWN, 1)]
        tally.update(TaskStatus(source=f"task_node#{run}", counts=counts))
    assert tally.outcomes() == {"unknown: fault": MAX_RUNS}
    tally.update(TaskStatus(source="task_node#0", counts=[counted(77, 1, 3), counted(0, 9, 2)]))
    assert tally.outcomes() == {"unknown: fault": MAX_RUNS - 1, "unknown": 5}
