# SPDX-License-Identifier: Apache-2.0
"""What the tests of the demo programs share."""

from __future__ import annotations

import pytest

from gr00t_ros.sim.rendering import CameraRenderer, RenderingUnavailableError
from gr00t_ros.sim.world import SimulatedArm


def require_rendering() -> None:
    """Skip the test on a machine that cannot draw the camera images."""
    try:
        CameraRenderer(SimulatedArm(0).model, width=64, height=48).close()
    except RenderingUnavailableError as error:
        pytest.skip(f"no OpenGL on this machine: {error}")
