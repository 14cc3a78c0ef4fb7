# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of the simulated arm in each phase of a task, and what the result says of it."""

from __future__ import annotations

import re
import signal

import pytest
from action_msgs.msg import GoalStatus
from helpers import wait_until
from simulated_task_rig import DONE, MAX_AGE_S, Simulation, put
from task_rig import SLOW_S, fields

from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import TaskResult

pytestmark = pytest.mark.xdist_group("task in simulation")

SILENT = "state.single_arm, state.gripper silent since the commands ended"
NO_STATUS = r" has sent no status for \d\.\d s: it has ended, or hangs"
STALE = "stale on /?(joint_states|front/image_raw|wrist/image_raw)"


def test_an_arm_that_is_killed_while_it_moves_is_a_fault_that_names_it(
    simulation: Simulation,
) -> None:
    handle = simulation.begin("blue")
    simulation.processes.kill("sim_node")
    status, result = simulation.peer.result_of(handle)
    simulation.start_arm_again()
    assert status == GoalStatus.STATUS_ABORTED
    assert fields(result.task) == (TaskResult.TERMINATION_FAULT, TaskResult.OUTCOME_UNKNOWN)
    causes = (
        f"(?s)the robot has played no chunk for 6.* {STALE}",
        # A fast arm is 0.5 rad behind its commands before its joint states are too old.
        r"control_node: \w+ does not follow: commanded",
        # A machine that stands still while a large process is taken down stalls the node, too.
        f"control_node(: the control loop does not tick|{NO_STATUS}); {SILENT}",
    )
    assert re.search("|".join(causes), result.task.reason)


def test_an_arm_that_is_killed_before_the_first_chunk_is_a_fault_that_names_it(
    simulation: Simulation,
) -> None:
    peer = simulation.peer
    handle = simulation.begin("blue")  # its first task configures the policy node
    handle.cancel_goal_async()
    peer.result_of(handle)
    simulation.processes.kill("sim_node")
    # Until then the policy node infers from what the arm has sent last, and chunks come.
    wait_until(
        lambda: min(stream.age_s for stream in peer.policy_statuses[-1].streams) > MAX_AGE_S,
        SLOW_S,
        "all that the arm has sent is stale",
    )
    status, result = peer.run(RunPolicy.Goal(instruction=put("blue"), enders=[DONE]))
    simulation.start_arm_again()
    assert status == GoalStatus.STATUS_ABORTED
    assert fields(result.task) == (TaskResult.TERMINATION_FAULT, TaskResult.OUTCOME_UNKNOWN)
    assert result.task.chunks == 0
    assert re.search(STALE, result.task.reason)


def test_an_arm_that_is_killed_as_the_task_starts_is_a_fault_that_names_it(
    simulation: Simulation,
) -> None:
    peer = simulation.peer
    handle = peer.send(RunPolicy.Goal(instruction=put("blue"), enders=[DONE]))
    peer.wait_for_feedback(RunPolicy.Feedback.STATE_STARTING)
    simulation.processes.kill("sim_node")
    status, result = peer.result_of(handle)
    simulation.start_arm_again()
    assert status == GoalStatus.STATUS_ABORTED
    assert fields(result.task) == (TaskResult.TERMINATION_FAULT, TaskResult.OUTCOME_UNKNOWN)
    assert re.search(f"{STALE}|control_node: \\w+ does not follow: commanded", result.task.reason)


def test_an_arm_that_is_killed_while_it_brakes_is_told_beside_the_end(
    simulation: Simulation,
) -> None:
    peer = simulation.peer
    handle = simulation.begin("blue")
    simulation.processes.signal("control_node", signal.SIGSTOP)
    handle.cancel_goal_async()
    peer.wait_for_feedback(RunPolicy.Feedback.STATE_STOPPING)
    simulation.processes.kill("sim_node")
    simulation.processes.signal("control_node", signal.SIGCONT)
    status, result = peer.result_of(handle)
    simulation.start_arm_again()
    assert status == GoalStatus.STATUS_CANCELED
    assert fields(result.task) == (TaskResult.TERMINATION_CANCELLED, TaskResult.OUTCOME_UNKNOWN)
    # The control node stood still: its first status says so, or there was none for too long.
    causes = (SILENT, "control_node: the control loop does not tick", f"control_node{NO_STATUS}")
    late = "policy_node/stop did not answer within 1 s, so control_node was (stopped|asked to stop)"
    assert re.fullmatch(
        f"cancelled by the client; ({late}: its ~/start allows motion again; )?"
        f"({'|'.join(causes)}): "
        "whether the robot is at rest is not known",
        result.task.reason,
    )
