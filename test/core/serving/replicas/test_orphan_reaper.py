# SPDX-License-Identifier: Apache-2.0
"""What a killed server leaves of Ray is ended, also while Ray still starts. Needs no Ray."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from server_rig import wait_until

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")

WRITER = (
    "import sys, time; log = open(sys.argv[1], 'w'); print('open', flush=True); time.sleep(600)"
)
SERVER = f"""
import subprocess, sys
from pathlib import Path
import os
from gr00t_policy_core.serving.replicas.orphan_reaper import OrphanReaper

reaper = OrphanReaper()
for session in (f"session_2026-11-26_{{os.getpid()}}", f"session_2026-11-26_{{os.getpid()}}0"):
    folder = Path(sys.argv[1], session, "logs")
    folder.mkdir(parents=True)
    command = [sys.executable, "-c", {WRITER!r}, str(folder / "agent.log")]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    writer.stdout.readline()
    print(writer.pid, flush=True)
sys.stdin.read()
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_processes_that_write_into_the_session_of_a_killed_server_are_killed(tmp_path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    own, of_another_server = (int(server.stdout.readline()) for _ in range(2))
    try:
        server.kill()
        wait_until(lambda: not is_running(own))
        assert is_running(of_another_server)
    finally:
        os.kill(of_another_server, signal.SIGKILL)
        server.communicate()
