# SPDX-License-Identifier: Apache-2.0
"""The simulated arm with its nodes, which all tests of a module share and leave at rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from leader_arm import TELEOP_TOPIC
from simulated_task_rig import MAX_AGE_S, Simulation, arm_command
from task_rig import Processes, TaskPeer, expert_server, node_command, spinning_node

from gr00t_ros.sim.demo_processes import config

ROBOTS = ("fleet", "simulation")  # fixtures with processes


@pytest.fixture(autouse=True)
def output_of_processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where a test fails, pytest shows what the robot's processes have said in its time."""
    robots = [request.getfixturevalue(name) for name in ROBOTS if name in request.fixturenames]
    yield
    for robot in robots:
        print(robot.processes.new_output())  # noqa: T201 - pytest shows it where a test fails


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("simulation")
    demo = config("demo.yaml")
    with expert_server(folder) as port, spinning_node("task_peer") as node:
        processes = Processes(
            {
                "sim_node": arm_command(),
                "policy_node": node_command(
                    "policy_node", demo, policy__port=port, max_age_s=MAX_AGE_S
                ),
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
        try:
            processes.start("sim_node", "policy_node", "control_node", "task_node")
            peer = TaskPeer(node)
            peer.wait_for_nodes(processes)
            yield Simulation(peer, processes)
        finally:
            print(processes.end())  # noqa: T201 - pytest shows it where a test fails
