# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy` as a process, and what its tests send and expect."""

import contextlib
import os
import re
import subprocess
import sys

import numpy as np
import pytest

DEADLINE_S = 60


PROGRAM = [sys.executable, "-m", "gr00t_policy_core"]


def environment(**changes):
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MALLOC_", "GR00T_"))
    }
    return {**kept, **changes}


def run(*arguments, **changes):
    """A finished `gr00t-policy`."""
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@contextlib.contextmanager
def serving(*arguments, **changes):
    """A running `gr00t-policy serve` and the port that it says it listens on."""
    command = [*PROGRAM, "serve", "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        match = re.fullmatch(r"listening on (\S+):(\d+)\n", line)
        if match is None:
            pytest.fail(f"no listening line but {line!r}: {process.communicate()[1]}")
        process.host, process.port = match[1], int(match[2])
        yield process
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE_S)


def observation():
    return {
        "video": {key: np.zeros((1, 1, 4, 6, 3), np.uint8) for key in ("front", "wrist")},
        "state": {
            "single_arm": np.zeros((1, 1, 6), np.float32),
            "gripper": np.zeros((1, 1, 1), np.float32),
        },
        "language": {"annotation.human.task_description": [["pick"]]},
    }


def one_line(text):
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]
