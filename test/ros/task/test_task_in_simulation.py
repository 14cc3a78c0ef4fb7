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

import numpy as np
import pytest
import yaml
from action_msgs.msg import GoalStatus
from correction_rig import Correction, command_runs, recorded
from helpers import require_within, wait_until
from nodes_for_tests import Operator
from std_msgs.msg import String
from task_rig import SLOW_S, Processes, TaskPeer, fields, node_command, spinning_node
from trajectory_msgs.msg import JointTrajectory

from gr00t_policy_core import cli
from gr00t_policy_core.datasets.lerobot import LeRobotDataset
from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import Ender, RecorderStatus, Subtask, TaskResult
from gr00t_ros.sim.demo_processes import config, port_from_log
from gr00t_ros.sim.kinematics import JOINT_NAMES
from gr00t_ros.srv import StartEpisode, StopEpisode
from gr00t_ros.task.ender_goal import ender_message

pytestmark = pytest.mark.xdist_group("task in simulation")

DONE = Ender(type="policy", settings="{key: done}")
GRIPPER_CLOSED = "joint: {joint: gripper, above: 0.0115, below: 0.0132, for_s: 0.2}"
GRASPED = ender_message(GRIPPER_CLOSED)
EXAMPLES = Path(__file__).parents[3] / "examples"
LEADER = {f"action__{key}__teleop_topic": "leader" for key in ("single_arm", "gripper")}
# On a busy machine the simulation stands still for a second, and so does who watches it.
PATIENCE = {
    "max_age_s": 2.0,
    "max_jump": 2.0,
    "max_observation_age_s": 60.0,
    "teleop_timeout_s": 2.0,
    "action__single_arm__max_following_error": 3.0,
}
SERVE = ["serve", "--policy", "gr00t_ros.sim.feedback:FeedbackExpert", "--port", "0"]


def put(colour: str) -> str:
    return f"pick up the {colour} cube and put it into the bin"


class Simulation:
    """The simulated arm with its nodes, and a peer."""

    def __init__(self, peer: TaskPeer, processes: Processes, recordings: Path) -> None:
        self.peer = peer
        self.processes = processes
        self.recordings = recordings
        self.commands: list[JointTrajectory] = []
        peer.node.create_subscription(
            JointTrajectory, "arm/joint_trajectory", self.commands.append, 1000
        )
        self._instruction = peer.node.create_publisher(String, "policy_node/instruction", 1)

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
    parameters = {"policy__port": port, "max_age_s": 2.0, "max_skew_s": 0.2}
    processes = Processes(
        {
            "sim_node": node_command(
                "sim_node", demo, image_rate_hz=10.0, image_width=320, image_height=240
            ),
            "policy_node": node_command("policy_node", demo, **parameters),
            "control_node": node_command(
                "control_node", demo, autostart=True, **LEADER, **PATIENCE
            ),
            "task_node": node_command("task_node", demo),
            "recorder_node": node_command(
                "recorder_node",
                demo,
                autostart=True,
                record__folder=str(folder / "recordings"),
                record__min_free_mb=0,
                max_age_s=2.0,
                **LEADER,
            ),
        },
        folder,
    )
    with spinning_node("task_peer") as node:
        try:
            processes.start("sim_node", "policy_node", "control_node", "task_node")
            peer = TaskPeer(node)
            peer.wait_for_nodes(processes)
            yield Simulation(peer, processes, folder / "recordings")
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
    assert np.abs(np.diff(positions[-5:], axis=0)).max() == 0.0  # at rest when the result comes


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
    assert not is_moving(simulation)


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


def test_a_person_corrects_a_wrong_grasp_half_way_and_hands_back(
    simulation: Simulation, tmp_path: Path
) -> None:
    pytest.importorskip("av", reason="videos need PyAV (the extra 'convert')")
    node = simulation.peer.node
    simulation.processes.start("recorder_node")
    recorder = Operator(node, "recorder_node")
    recorder.wait_for_status(lambda s: s.state == RecorderStatus.STATE_READY, "the recorder")
    person = Correction(node)
    person.begin(put("red"))
    begun = recorder.call("start", StartEpisode, StartEpisode.Request(task=put("green")))
    assert begun.success, begun.message
    person.take_over_half_way_down("green")
    person.drive_to_the_end()
    person.instruct(put("green"))
    person.let_go()
    person.wait_until_in_bin("green")
    person.end()
    ended = recorder.call("stop", StopEpisode, StopEpisode.Request(outcome="success"))
    assert ended.success, ended.message
    bag = simulation.recordings / begun.episode

    said = [(time_ns, message.data) for time_ns, _, message in recorded(bag, "/intervention")]
    took_over_ns = next(time_ns for time_ns, drives in said if drives)
    let_go_ns = next(time_ns for time_ns, drives in said if not drives and time_ns > took_over_ns)
    require_smooth_handovers(simulation, bag, took_over_ns, let_go_ns)
    require_corrections_only(bag, tmp_path, took_over_ns, let_go_ns)


def require_smooth_handovers(
    simulation: Simulation, bag: Path, took_over_ns: int, let_go_ns: int
) -> None:
    """Speed, acceleration and jerk of every recorded command keep the limits, also where the
    driver changes: a jump would be an acceleration.
    """
    limits = {joint.name: joint for joint in simulation.peer.control_statuses[-1].joints}
    around = 0
    for times_ns, positions in command_runs(bag):
        for boundary_ns in (took_over_ns, let_go_ns):
            around += int((np.abs(times_ns - boundary_ns) < 1_000_000_000).sum())
        for column, name in enumerate(JOINT_NAMES):
            require_within(
                positions[:, column],
                velocity=limits[name].max_velocity,
                acceleration=limits[name].max_acceleration,
                jerk=limits[name].max_jerk,
                period_s=0.01,
            )
    assert around > 100, "commands around the boundaries were recorded"


def require_corrections_only(bag: Path, folder: Path, took_over_ns: int, let_go_ns: int) -> None:
    """The converted dataset has what the person drove, with the commands that went out."""
    config_file = folder / "robot.yaml"
    values = yaml.safe_load(config("demo.yaml").read_text())
    # The pictures come at 10 Hz here, less on a busy machine, and the steps at 30 Hz.
    values["/**"]["ros__parameters"] |= {"max_age_s": 2.0, "max_skew_s": 1.0}
    config_file.write_text(yaml.safe_dump(values))
    flags = ["--corrections-only", "--min-length", "0.2", "--jobs", "1"]
    arguments = [str(bag), "--config", str(config_file), "--output", str(folder / "d"), *flags]
    assert cli.main(["convert", *arguments]) == 0
    dataset = LeRobotDataset(folder / "d")
    driven = sum(episode.length for episode in dataset.episodes.values())
    expected = (let_go_ns - took_over_ns) * 1e-9 * 30.0
    assert 0.2 * expected < driven < expected + 2
    commanded = np.concatenate([positions for _, positions in command_runs(bag)])
    for index in dataset.episodes:
        assert dataset.read_column(index, "intervention").all()
        action = dataset.read(index, "action", ["single_arm"])["single_arm"]
        distances = np.abs(action[:, None] - commanded[None, :, :6]).max(axis=2).min(axis=1)
        assert distances.max() < 1e-6
