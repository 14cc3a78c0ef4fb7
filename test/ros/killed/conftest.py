# SPDX-License-Identifier: Apache-2.0
"""Robots whose processes are killed, a suite of its own: without shared memory.

Fast DDS reads its profiles when the first node of a process is made, so these tests are not run
beside others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from simulated_task_rig import Simulation, simulated_robot
from task_rig import show_output
from udp_environment import udp_environment

SMALL_IMAGE = (120, 160)  # height, width: the buffer of a UDP socket holds it

os.environ.update(udp_environment())

output_of_processes = pytest.fixture(autouse=True)(show_output)


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("simulation")
    with simulated_robot(folder, SMALL_IMAGE) as robot:
        yield robot
