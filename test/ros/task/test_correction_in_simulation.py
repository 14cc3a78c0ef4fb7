# SPDX-License-Identifier: Apache-2.0
"""A person corrects a wrong grasp of the simulated arm half-way; every node is a process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from correction_rig import Correction, command_runs, recorded
from helpers import require_within
from nodes_for_tests import Operator
from simulated_task_rig import IMAGE_SIZE, arm_command, put
from task_rig import Processes, TaskPeer, expert_server, node_command, spinning_node

from gr00t_policy_core import cli
from gr00t_policy_core.datasets.lerobot import LeRobotDataset
from gr00t_ros.msg import RecorderStatus
from gr00t_ros.sim.demo_processes import config
from gr00t_ros.sim.kinematics import JOINT_NAMES
from gr00t_ros.srv import StartEpisode, StopEpisode

pytestmark = pytest.mark.xdist_group("task in simulation")

LEADER = {f"action__{key}__teleop_topic": "leader" for key in ("single_arm", "gripper")}
# On a busy machine the simulation stands still for a second, and so does who watches it.
PATIENCE = {
    "max_age_s": 2.0,
    "max_jump": 2.0,
    "max_observation_age_s": 60.0,
    "teleop_timeout_s": 2.0,
    "action__single_arm__max_following_error": 3.0,
}


@dataclass(frozen=True, slots=True)
class Robot:
    """The simulated arm with its nodes, and a peer."""

    peer: TaskPeer
    processes: Processes
    recordings: Path


@pytest.fixture
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    folder = tmp_path_factory.mktemp("simulation")
    demo = config("demo.yaml")
    with expert_server(folder) as port, spinning_node("task_peer") as node:
        parameters = {"policy__port": port, "max_age_s": 2.0, "max_skew_s": 0.2}
        processes = Processes(
            {
                "sim_node": arm_command(IMAGE_SIZE),
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
        try:
            processes.start("sim_node", "policy_node", "control_node", "task_node")
            peer = TaskPeer(node)
            peer.wait_for_nodes(processes)
            yield Robot(peer, processes, folder / "recordings")
        finally:
            print(processes.end())  # noqa: T201 - pytest shows it where a test fails


def test_a_person_corrects_a_wrong_grasp_half_way_and_hands_back(
    robot: Robot, tmp_path: Path
) -> None:
    pytest.importorskip("av", reason="videos need PyAV (the extra 'convert')")
    node = robot.peer.node
    robot.processes.start("recorder_node")
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
    bag = robot.recordings / begun.episode

    said = [(time_ns, message.data) for time_ns, _, message in recorded(bag, "/intervention")]
    took_over_ns = next(time_ns for time_ns, drives in said if drives)
    let_go_ns = next(time_ns for time_ns, drives in said if not drives and time_ns > took_over_ns)
    require_smooth_handovers(robot, bag, took_over_ns, let_go_ns)
    require_corrections_only(bag, tmp_path, took_over_ns, let_go_ns)


def require_smooth_handovers(robot: Robot, bag: Path, took_over_ns: int, let_go_ns: int) -> None:
    """Speed, acceleration and jerk of every recorded command keep the limits, also where the
    driver changes: a jump would be an acceleration.
    """
    limits = {joint.name: joint for joint in robot.peer.control_statuses[-1].joints}
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
