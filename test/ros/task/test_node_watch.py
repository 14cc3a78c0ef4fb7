# SPDX-License-Identifier: Apache-2.0
"""What the statuses of both nodes say of a task that runs."""

from __future__ import annotations

import pytest

from gr00t_ros.msg import ActionChunk, ControlStatus, PolicyStatus, StreamStatus
from gr00t_ros.task.node_watch import NodeWatch, WatchSettings

SETTINGS = WatchSettings(status_timeout_s=3.0, stall_timeout_s=10.0)
P, C = PolicyStatus, ControlStatus


def watch_of(
    policy: dict[str, object] | None = None, control: dict[str, object] | None = None
) -> NodeWatch:
    """A watch that has received one status of each node at 0 s."""
    watch = NodeWatch(SETTINGS, 0.0)
    watch.receive_policy(P(**{"state": P.STATE_RUNNING, **(policy or {})}), 0.0)
    watch.receive_control(C(**{"state": C.STATE_RUNNING, **(control or {})}), 0.0)
    return watch


def test_nodes_that_run_are_no_fault() -> None:
    watch = watch_of()
    assert watch.fault(1.0) == ""
    assert watch.is_moving
    assert watch.why_not_moving() == ""


@pytest.mark.parametrize(
    ("policy", "control", "expected"),
    [
        ({"state": P.STATE_ERROR, "reason": "no camera"}, {}, "policy_node: no camera"),
        ({}, {"state": C.STATE_ERROR, "reason": "stuck"}, "control_node: stuck"),
        ({}, {"state": C.STATE_STOPPED, "reason": "not active"}, "does not command the robot"),
    ],
)
def test_a_node_in_error_is_a_fault(
    policy: dict[str, object], control: dict[str, object], expected: str
) -> None:
    assert expected in watch_of(policy, control).fault(1.0)


def test_a_silent_node_is_a_fault_and_one_that_was_never_there_another() -> None:
    watch = watch_of()
    watch.receive_policy(P(state=P.STATE_RUNNING), 3.0)
    assert watch.fault(3.5) == "control_node has sent no status for 3.5 s: it has ended, or hangs"
    unknown = NodeWatch(SETTINGS, 0.0)
    assert unknown.policy_fault(2.0) == ""
    assert "policy_node is not there: no status on policy_node/status" in unknown.policy_fault(3.5)


def test_a_policy_node_that_was_stopped_is_a_fault_only_after_it_was_started() -> None:
    watch = watch_of({"state": P.STATE_STOPPED})
    assert watch.fault(1.0) == ""
    watch.receive_policy(P(state=P.STATE_WAITING), 1.0)
    watch.receive_policy(P(state=P.STATE_STOPPED), 1.5)
    assert watch.fault(2.0) == "policy_node was stopped by somebody else"


def test_a_stop_of_a_stopped_policy_node_is_a_fault_unless_it_is_the_tasks_own() -> None:
    stopped = P.STATE_STOPPED
    watch = watch_of({"state": stopped, "stops": 3})
    assert watch.stop_fault() == ""
    watch.receive_policy(P(state=stopped, stops=4), 0.5)
    assert watch.stop_fault() == "policy_node was stopped by somebody else"
    watch.allow_stops(True)
    watch.receive_policy(P(state=stopped, stops=6), 1.0)
    assert watch.stop_fault() == ""
    watch.allow_stops(False)
    assert watch.stop_fault() == ""
    watch.receive_policy(P(state=stopped, stops=0), 1.5)  # it was started again
    assert watch.stop_fault() == ""
    watch.receive_policy(P(state=stopped, stops=1), 2.0)
    assert watch.stop_fault() == "policy_node was stopped by somebody else"


def test_a_restart_is_a_fault() -> None:
    watch = watch_of({"inferences": 5}, {"commands": 7})
    watch.receive_policy(P(state=P.STATE_RUNNING, inferences=1), 0.5)
    assert watch.fault(1.0) == "policy_node was restarted"
    watch.start(1.0)  # it was configured anew for the task
    assert watch.fault(1.0) == ""
    watch = watch_of({}, {"commands": 7})
    watch.receive_control(C(state=C.STATE_RUNNING, commands=2), 0.5)
    assert watch.fault(1.0) == "control_node was restarted"
    watch = watch_of()
    watch.receive_chunk(ActionChunk(source="a"))
    watch.receive_chunk(ActionChunk(source="b"))
    assert watch.fault(1.0) == "policy_node was restarted"


def test_a_robot_that_stands_still_for_too_long_is_a_fault_with_its_reason() -> None:
    watch = watch_of()
    for second in range(1, 12):
        watch.receive_policy(P(state=P.STATE_RUNNING), float(second))
        watch.receive_control(
            C(state=C.STATE_HOLDING, reason="the enable signal is off"), float(second)
        )
    assert watch.fault(9.0) == ""
    told = watch.fault(11.1)
    assert told.endswith("control_node: the enable signal is off")
    assert "no chunk for 10.1 s" in told


def test_a_person_who_drives_is_no_stall() -> None:
    watch = watch_of()
    for second in range(1, 14):
        watch.receive_policy(P(state=P.STATE_RUNNING), float(second))
        watch.receive_control(C(state=C.STATE_INTERVENTION, intervention=True), float(second))
    assert watch.human_drives
    assert watch.fault(13.5) == ""


def test_the_robot_is_at_rest_only_by_a_status_that_came_since() -> None:
    watch = watch_of({}, {"state": C.STATE_HOLDING, "at_rest": True})
    assert watch.is_at_rest(0.0)
    assert not watch.is_at_rest(0.1)
    watch.receive_control(C(state=C.STATE_HOLDING, at_rest=False), 0.2)
    assert not watch.is_at_rest(0.1)


def test_a_state_is_measured_once_a_message_is_newer_than_the_stop() -> None:
    names = ("video.front", "state.arm", "state.gripper")

    def told(ages_s: tuple[float, ...], at_s: float) -> NodeWatch:
        watch = watch_of()
        streams = [
            StreamStatus(name=n, age_s=age_s) for n, age_s in zip(names, ages_s, strict=True)
        ]
        watch.receive_policy(P(state=P.STATE_STOPPED, streams=streams), at_s)
        return watch

    assert told((9.0, 0.02, 0.02), 10.0).unmeasured(9.5) == []  # the cameras measure no joint
    assert told((0.0, 0.7, float("nan")), 10.0).unmeasured(9.5) == ["state.arm", "state.gripper"]
    assert told((0.0, 0.01, 0.01), 9.4).unmeasured(9.5) == ["state.arm", "state.gripper"]
    assert watch_of().unmeasured(5.0) == []  # a node that is not configured has no streams
    assert watch_of().hears_policy(3.0)
    assert not watch_of().hears_policy(3.1)
