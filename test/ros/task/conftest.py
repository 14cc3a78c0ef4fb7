# SPDX-License-Identifier: Apache-2.0
"""The simulated arm with its nodes, which all tests of a module share and leave at rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from simulated_task_rig import Simulation, simulated_robot
from task_rig import show_output

output_of_processes = pytest.fixture(autouse=True)(show_output)


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with simulated_robot(tmp_path_factory.mktemp("simulation")) as robot:
        yield robot
