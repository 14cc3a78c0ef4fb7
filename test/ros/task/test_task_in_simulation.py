# SPDX-License-Identifier: Apache-2.0
"""Tasks of the simulated arm: how they run, and who ends them before their time.

Every node and the policy server is a process, with DDS between them.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from helpers import require_within, wait_until
from leader_arm import LeaderArm
from simulated_task_rig import DONE, Simulation, put
from std_srvs.srv import SetBool
from task_rig import SLOW_S, fields

from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import Subtask, TaskResult
from gr00t_ros.task.ender_goal import ender_message

pytestmark = pytest.mark.xdist_group("task in simulation")

GRIPPER_CLOSED = "joint: {joint: gripper, above: 0.0115, below: 0.0132, for_s: 0.2}"
GRASPED = ender_message(GRIPPER_CLOSED)
EXAMPLES = Path(__file__).parents[3] / "examples"


def test_three_instructions_in_a_row_the_last_of_which_runs_out_of_time(
    simulation: Simulation,
) -> None:
    goal = RunPolicy.Goal(
        subtasks=[
            Subtask(instruction=put("red"), enders=[DONE], time_limit_s=60.0),
            Subtask(instruction=put("green"), enders=[GRASPED], time_limit_s=60.0),
            Subtask(instruction=put("green"), enders=[DONE], time_limit_s=1.0),
        ]
    )

    status, result = simulation.peer.run(goal)

    assert status == GoalStatus.STATUS_ABORTED
    ended = [fields(subtask) for subtask in result.subtasks]
    assert ended == [
        (TaskResult.TERMINATION_ENDER, TaskResult.OUTCOME_SUCCESS),
        (TaskResult.TERMINATION_ENDER, TaskResult.OUTCOME_SUCCESS),
        (TaskResult.TERMINATION_TIME_LIMIT, TaskResult.OUTCOME_FAILURE),
    ]
    assert [subtask.instruction for subtask in result.subtasks] == [
        subtask.instruction for subtask in goal.subtasks
    ]
    assert fields(result.task) == fields(result.subtasks[-1])
    assert "the time limit of 1 s has passed: done is 0" in result.task.reason
    assert result.task.chunks == sum(subtask.chunks for subtask in result.subtasks) > 10
    assert 0.0 < result.task.round_trip_p50_s <= result.task.round_trip_p99_s
    assert simulation.peer.control_statuses[-1].at_rest


def test_cancel_brakes_in_mid_motion_within_the_limits(simulation: Simulation) -> None:
    peer = simulation.peer
    handle = peer.send(RunPolicy.Goal(instruction=put("blue"), enders=[DONE]))
    peer.wait_for_feedback(RunPolicy.Feedback.STATE_RUNNING)
    wait_until(simulation.is_moving, SLOW_S, "the arm moves")
    simulation.commands.clear()

    asked = len(peer.chunks)
    handle.cancel_goal_async()
    status, result = peer.result_of(handle)
    simulation.require_rest()

    assert status == GoalStatus.STATUS_CANCELED
    assert fields(result.task) == (TaskResult.TERMINATION_CANCELLED, TaskResult.OUTCOME_UNKNOWN)
    assert result.task.reason == "cancelled by the client"
    assert any(chunk.stop for chunk in peer.chunks[asked:])
    joints = peer.control_statuses[-1].joints
    names = list(simulation.commands[0].joint_names)
    positions = np.array([command.points[0].positions for command in simulation.commands])
    for joint in joints:
        require_within(
            positions[:, names.index(joint.name)],
            velocity=joint.max_velocity,
            acceleration=joint.max_acceleration,
            jerk=joint.max_jerk,
            period_s=0.01,
        )


def run_command(*arguments: str) -> subprocess.Popen[str]:
    """A running `gr00t-policy run`."""
    return subprocess.Popen(
        [sys.executable, "-m", "gr00t_policy_core", "run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_ctrl_c_of_the_command_cancels_and_waits_until_the_robot_is_at_rest(
    simulation: Simulation,
) -> None:
    command = run_command(put("blue"), "--ender", "policy: {key: done}")
    assert command.stdout is not None
    lines = iter(command.stdout.readline, "")
    assert any("| running" in line for line in lines)

    command.send_signal(signal.SIGINT)
    output, _ = command.communicate(timeout=SLOW_S)

    assert command.returncode == 130, output
    assert "run: cancelling, the robot brakes" in output
    assert re.search(r"run: cancelled after \d+\.\d s, outcome unknown: cancelled by the", output)
    assert simulation.peer.control_statuses[-1].at_rest
    simulation.require_rest()


def test_another_instruction_on_the_topic_takes_over(simulation: Simulation) -> None:
    peer = simulation.peer
    handle = peer.send(RunPolicy.Goal(instruction=put("blue"), enders=[DONE]))
    peer.wait_for_feedback(RunPolicy.Feedback.STATE_RUNNING)
    simulation.instruct(put("green"))
    status, result = peer.result_of(handle)
    assert status == GoalStatus.STATUS_ABORTED
    assert fields(result.task) == (TaskResult.TERMINATION_TAKEN_OVER, TaskResult.OUTCOME_UNKNOWN)
    assert "somebody has given another instruction" in result.task.reason


def test_a_behaviour_tree_of_the_examples_goes_on_where_a_task_failed(
    simulation: Simulation, tmp_path: Path
) -> None:
    pytest.importorskip("py_trees")
    tree = (EXAMPLES / "task_tree.xml").read_text()
    # The first task cannot end before its time, and the second one has only to begin.
    limit, ender = 'time_limit_s="30"', 'ender="policy: {key: done}"'
    assert tree.count(limit) == tree.count(ender) == 2
    tree = tree.replace(limit, 'time_limit_s="1"', 1)
    for above in (1, -1):
        tree = tree.replace(ender, f'ender="policy: {{key: done, above: {above}}}"', 1)
    file = tmp_path / "tree.xml"
    file.write_text(tree)
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / "task_tree.py"), str(file)],
        capture_output=True,
        text=True,
        timeout=SLOW_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert re.search("red .* the time limit of the goal, 1 s, has passed", result.stderr)
    assert re.search("green .* done is [01], above -1 is asked for", result.stderr)
    assert simulation.peer.control_statuses[-1].at_rest


def test_the_command_runs_a_task_to_its_end(simulation: Simulation) -> None:
    command = run_command(put("blue"), "--ender", GRIPPER_CLOSED, "--time-limit", "60")
    output, _ = command.communicate(timeout=SLOW_S)
    assert command.returncode == 0, output
    assert "outcome success: joint" in output


def test_a_second_goal_takes_the_place_of_the_first(simulation: Simulation) -> None:
    peer = simulation.peer
    first = simulation.begin("blue")
    wait_until(simulation.is_moving, SLOW_S, "the arm moves")
    status, result = peer.run(RunPolicy.Goal(instruction=put("red"), time_limit_s=2.0))
    assert status == GoalStatus.STATUS_ABORTED
    assert result.task.termination == TaskResult.TERMINATION_TIME_LIMIT
    assert result.task.chunks > 0
    status, result = peer.result_of(first)
    assert status == GoalStatus.STATUS_ABORTED
    assert fields(result.task) == (TaskResult.TERMINATION_CANCELLED, TaskResult.OUTCOME_UNKNOWN)
    assert result.task.reason == "another goal has taken its place"


def test_a_person_who_takes_over_ends_the_task(simulation: Simulation) -> None:
    peer = simulation.peer
    LeaderArm(peer.node)
    client = peer.node.create_client(SetBool, "control_node/intervene")
    wait_until(client.service_is_ready, SLOW_S, "control_node/intervene")

    def intervene(drives: bool) -> bool:
        future = client.call_async(SetBool.Request(data=drives))
        wait_until(future.done, SLOW_S, "control_node/intervene answers")
        return bool(future.result().success)

    handle = simulation.begin("blue")
    wait_until(lambda: intervene(True), SLOW_S, "a person drives")
    status, result = peer.result_of(handle)
    assert status == GoalStatus.STATUS_ABORTED
    assert fields(result.task) == (TaskResult.TERMINATION_TAKEN_OVER, TaskResult.OUTCOME_UNKNOWN)
    assert result.task.reason == "a person has taken over"
    peer.wait_for_policy("stopped")
    assert peer.control_statuses[-1].intervention
    assert intervene(False)
    soon = ender_message("time: {after_s: 0.5}")
    status, _ = peer.run(RunPolicy.Goal(instruction=put("red"), enders=[soon]))
    assert status == GoalStatus.STATUS_SUCCEEDED
