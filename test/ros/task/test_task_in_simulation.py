# SPDX-License-Identifier: Apache-2.0
"""Tasks in the simulated arm: every node and the policy server a process, DDS between them.

One simulated arm for all tests of this file, which leave it at rest.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseArray
from helpers import require_within, wait_until
from task_rig import SLOW_S, Processes, TaskPeer, fields, node_command, spinning_node
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import Ender, Subtask, TaskResult
from gr00t_ros.node.qos import SENSOR
from gr00t_ros.sim.demo_processes import config, port_from_log

pytestmark = pytest.mark.xdist_group("task in simulation")

DONE = Ender(type="policy", settings="{key: done}")
GRASPED = Ender(type="joint", settings="{joint: gripper, above: 0.0115, below: 0.0132, for_s: 0.2}")
SERVE = ["serve", "--policy", "gr00t_ros.sim.feedback:FeedbackExpert", "--port", "0"]


def put(colour: str) -> str:
    return f"pick up the {colour} cube and put it into the bin"


class Simulation:
    """The simulated arm with its nodes, and a peer."""

    def __init__(self, peer: TaskPeer, processes: Processes) -> None:
        self.peer = peer
        self.processes = processes
        self.commands: list[JointTrajectory] = []
        self.cubes: list[PoseArray] = []
        peer.node.create_subscription(
            JointTrajectory, "arm/joint_trajectory", self.commands.append, 1000
        )
        peer.node.create_subscription(PoseArray, "sim_node/cubes", self.cubes.append, SENSOR)


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("simulation")
    demo = config("demo.yaml")
    python = [sys.executable, "-m"]
    server = Processes({"server": [*python, "gr00t_policy_core", *SERVE]}, folder)
    server.start("server")
    wait_until(lambda: port_from_log(server.log("server")), SLOW_S, "the server listens")
    port = port_from_log(server.log("server"))
    parameters = {"policy__port": port, "max_age_s": 2.0}
    processes = Processes(
        {
            "sim_node": node_command("sim_node", demo, image_rate_hz=15.0),
            "policy_node": node_command("policy_node", demo, **parameters),
            "control_node": node_command("control_node", demo, autostart=True),
            "task_node": node_command("task_node", demo),
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

    print(result)
    assert status == GoalStatus.STATUS_ABORTED
    ended = [fields(subtask) for subtask in result.subtasks]
    assert ended == [
        (TaskResult.TERMINATION_ENDER, TaskResult.OUTCOME_SUCCESS),
        (TaskResult.TERMINATION_ENDER, TaskResult.OUTCOME_SUCCESS),
        (TaskResult.TERMINATION_TIME_LIMIT, TaskResult.OUTCOME_FAILURE),
    ]
