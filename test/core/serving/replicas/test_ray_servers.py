# SPDX-License-Identifier: Apache-2.0
"""Ray's servers may end while Ray starts. Needs no Ray."""

import shutil
import subprocess
from pathlib import Path

import pytest
from server_rig import wait_until

from gr00t_policy_core.serving.replicas.ray_servers import NAMES, ended_server

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")


@pytest.mark.parametrize("name", [*NAMES, "monitor.py"])
def test_a_server_that_has_ended_is_named_until_it_is_reaped(tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    program.symlink_to(shutil.which("cat"))
    process = subprocess.Popen([program], stdin=subprocess.PIPE)
    assert ended_server() == ""
    process.stdin.close()
    if name in NAMES:
        wait_until(lambda: ended_server() == name)
    process.wait()
    assert ended_server() == ""
