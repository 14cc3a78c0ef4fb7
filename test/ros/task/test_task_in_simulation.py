# SPDX-License-Identifier: Apache-2.0
"""Tasks in the simulated arm: every node and the policy server a process, DDS between them.

One simulated arm for all tests of this file, which leave it at rest.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from helpers import require_within, wait_until
from leader_arm import TELEOP_TOPIC, LeaderArm
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool
from task_rig import SLOW_S, Processes, TaskPeer, fields, node_command, spinning_node
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import ControlStatus, Ender, Subtask, TaskResult
from gr00t_ros.sim.demo_processes import config, port_from_log
from gr00t_ros.task.ender_goal import ender_message

pytestmark = pytest.mark.xdist_group("task in simulation")

DONE = Ender(type="policy", settings="{key: done}")
GRIPPER_CLOSED = "joint: {joint: gripper, above: 0.0115, below: 0.0132, for_s: 0.2}"
GRASPED = ender_message(GRIPPER_CLOSED)
EXAMPLES = Path(__file__).parents[3] / "examples"
IMMOBILE = (ControlStatus.STATE_ERROR, ControlStatus.STATE_STOPPED)  # until `~/start`
MAX_AGE_S = 2.0  # of what the policy node infers from
STALE = "stale on /?(joint_states|front/image_raw|wrist/image_raw)"
SERVE = ["serve", "--policy", "gr00t_ros.sim.feedback:FeedbackExpert", "--port", "0"]


def put(colour: str) -> str:
    return f"pick up the {colour} cube and put it into the bin"


class Simulation:
    """The simulated arm with its nodes, and a peer."""

    def __init__(self, peer: TaskPeer, processes: Processes) -> None:
        self.peer = peer
        self.processes = processes
        self.commands: list[JointTrajectory] = []
        peer.node.create_subscription(
            JointTrajectory, "arm/joint_trajectory", self.commands.append, 1000
        )
        self.measured: list[JointState] = []
        peer.node.create_subscription(
            JointState, "joint_states", self.measured.append, qos_profile_sensor_data
        )
        self._instruction = peer.node.create_publisher(String, "policy_node/instruction", 1)

    def begin(self, colour: str = "blue") -> Any:
        """A task whose robot plays chunks."""
        handle = self.peer.send(RunPolicy.Goal(instruction=put(colour), enders=[DONE]))
        self.peer.wait_for_feedback(RunPolicy.Feedback.STATE_RUNNING)
        return handle

    def start_arm_again(self) -> None:
        """Start the arm that was killed: it begins elsewhere, and the control node rejects that."""
        self.measured.clear()
        self.processes.start("sim_node")
        wait_until(lambda: self.measured, SLOW_S, "the arm is there again")
        wait_until(self._is_seen, SLOW_S, "the control node sees it, too")

        def is_allowed() -> bool:
            seen = len(self.peer.control_statuses)
            wait_until(
                lambda: len(self.peer.control_statuses) > seen + 1, SLOW_S, "statuses from now on"
            )
            if self.peer.control_statuses[-1].state not in IMMOBILE:
                return True
            self.peer.allow_motion()
            return False

        wait_until(is_allowed, SLOW_S, "the control node moves the arm again")

    def _is_seen(self) -> bool:
        """Whether the control node has the positions that the arm sends."""
        newest = self.measured[-1]
        sent = dict(zip(newest.name, newest.position, strict=True))
        joints = self.peer.control_statuses[-1].joints
        return all(abs(joint.feedback - sent[joint.name]) < 0.01 for joint in joints)

    def require_rest(self) -> None:
        """Fail where a command from now on moves the arm; on a busy machine they arrive late."""
        now_ns = self.peer.node.get_clock().now().nanoseconds

        def rests() -> bool:
            newest = [command.points[0].positions for command in self.commands[-5:]]
            return len(newest) == 5 and bool(np.ptp(newest, axis=0).max() == 0.0)

        wait_until(rests, SLOW_S, "the last commands")
        place = self.commands[-1].points[0].positions
        for command in list(self.commands):
            if Time.from_msg(command.header.stamp).nanoseconds > now_ns:
                assert command.points[0].positions == place

    def instruct(self, instruction: str) -> None:
        """Publish an instruction, as an operator may."""
        self._instruction.publish(String(data=instruction))


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("simulation")
    demo = config("demo.yaml")
    python = [sys.executable, "-m"]
    server = Processes({"server": [*python, "gr00t_policy_core", *SERVE]}, folder)
    server.start("server")
    wait_until(lambda: port_from_log(server.log("server")), SLOW_S, "the server listens")
    port = port_from_log(server.log("server"))
    parameters = {"policy__port": port, "max_age_s": MAX_AGE_S}
    processes = Processes(
        {
            "sim_node": node_command(
                "sim_node", demo, image_rate_hz=10.0, image_width=320, image_height=240
            ),
            "policy_node": node_command("policy_node", demo, **parameters),
            "control_node": node_command(
                "control_node",
                demo,
                autostart=True,
                action__single_arm__teleop_topic=TELEOP_TOPIC,
                teleop_timeout_s=5.0,
            ),
            "task_node": node_command("task_node", demo, preempt=True, stall_timeout_s=6.0),
        },
        folder,
    )
    with spinning_node("task_peer") as node:
        try:
            processes.start("sim_node", "policy_node", "control_node", "task_node")
            peer = TaskPeer(node)
            peer.wait_for_nodes(processes)
            yield Simulation(peer, processes)
        finally:
            server.end()
            print(processes.end())  # noqa: T201 - pytest shows it where a test fails


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


def is_moving(simulation: Simulation) -> bool:
    """Whether a joint has moved by some mrad within the last commands."""
    recent = [command.points[0].positions for command in simulation.commands[-10:]]
    return len(recent) == 10 and bool(np.ptp(recent, axis=0).max() > 0.005)


def test_cancel_brakes_in_mid_motion_within_the_limits(simulation: Simulation) -> None:
    peer = simulation.peer
    handle = peer.send(RunPolicy.Goal(instruction=put("blue"), enders=[DONE]))
    peer.wait_for_feedback(RunPolicy.Feedback.STATE_RUNNING)
    wait_until(lambda: is_moving(simulation), SLOW_S, "the arm moves")
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
    # The first task gets too little time, and the second one has only to begin.
    first, second = 'time_limit_s="30"', 'ender="policy: {key: done}"'
    assert tree.count(first) == tree.count(second) == 2
    tree = tree.replace(first, 'time_limit_s="1"', 1)
    head, tail = tree.rsplit(second, 1)
    file = tmp_path / "tree.xml"
    file.write_text(f'{head}ender="policy: {{key: done, above: -1}}"{tail}')
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / "task_tree.py"), str(file)],
        capture_output=True,
        text=True,
        timeout=SLOW_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert re.search("red .* the time limit of the goal, 1 s, has passed", result.stderr)
    assert re.search("green .* done is 0, above -1 is asked for", result.stderr)
    assert simulation.peer.control_statuses[-1].at_rest


def test_the_command_runs_a_task_to_its_end(simulation: Simulation) -> None:
    command = run_command(put("blue"), "--ender", GRIPPER_CLOSED, "--time-limit", "60")
    output, _ = command.communicate(timeout=SLOW_S)
    assert command.returncode == 0, output
    assert "outcome success: joint" in output


def test_a_second_goal_takes_the_place_of_the_first(simulation: Simulation) -> None:
    peer = simulation.peer
    first = simulation.begin("blue")
    wait_until(lambda: is_moving(simulation), SLOW_S, "the arm moves")
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


def test_an_arm_that_is_killed_while_it_moves_is_a_fault_that_names_it(
    simulation: Simulation,
) -> None:
    handle = simulation.begin("blue")
    simulation.processes.kill("sim_node")
    status, result = simulation.peer.result_of(handle)
    simulation.start_arm_again()
    assert status == GoalStatus.STATUS_ABORTED
    assert fields(result.task) == (TaskResult.TERMINATION_FAULT, TaskResult.OUTCOME_UNKNOWN)
    # A fast arm is 0.5 rad behind its commands before its joint states are too old.
    silent = f"(?s)the robot has played no chunk for 6.* {STALE}"
    assert re.search(f"{silent}|control_node: \\w+ does not follow: commanded", result.task.reason)


def test_an_arm_that_is_killed_before_the_first_chunk_is_a_fault_that_names_it(
    simulation: Simulation,
) -> None:
    peer = simulation.peer
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
    causes = (
        "state.single_arm, state.gripper silent since the commands ended",
        "control_node: the control loop does not tick",
        r"control_node has sent no status for \d\.\d s: it has ended, or hangs",
    )
    late = "policy_node/stop did not answer within 1 s, so control_node was (stopped|asked to stop)"
    assert re.fullmatch(
        f"cancelled by the client; ({late}: its ~/start allows motion again; )?"
        f"({'|'.join(causes)}): "
        "whether the robot is at rest is not known",
        result.task.reason,
    )
