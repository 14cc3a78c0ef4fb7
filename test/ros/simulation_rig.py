# SPDX-License-Identifier: Apache-2.0
"""What the tests of the demo programs share."""

from __future__ import annotations

from pathlib import Path

import pytest

from gr00t_ros.sim.rendering import CameraRenderer, RenderingUnavailableError
from gr00t_ros.sim.world import SimulatedArm


def require_rendering() -> None:
    """Skip the test on a machine that cannot draw the camera images."""
    try:
        CameraRenderer(SimulatedArm(0).model, width=64, height=48).close()
    except RenderingUnavailableError as error:
        pytest.skip(f"no OpenGL on this machine: {error}")


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def processes_with(text: str) -> list[int]:
    """The running processes whose command line contains a text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command_line = (folder / "cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if text in command_line and is_alive(int(folder.name)):
            found.append(int(folder.name))
    return found
