# SPDX-License-Identifier: Apache-2.0
"""Robots whose processes are killed, a suite of its own: without shared memory.

A process that is killed leaves shared memory behind on which Fast DDS crashes, now and then, in
another process: in the one of the tests, when it destroys its node. Fast DDS reads its profiles
when the first node of a process is made, so these tests are not run beside others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from simulated_task_rig import Simulation, simulated_robot
from task_rig import show_output

from gr00t_ros.node.process_environment import process_environment

PROFILE = Path(__file__).parent / "udp_on_loopback.xml"
SMALL_IMAGE = (120, 160)  # height, width: the buffer of a UDP socket holds it

os.environ.update(process_environment(PROFILE))
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SYSTEM_DEFAULT"  # as the profile says

output_of_processes = pytest.fixture(autouse=True)(show_output)


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("simulation")
    with simulated_robot(folder, SMALL_IMAGE) as robot:
        yield robot
