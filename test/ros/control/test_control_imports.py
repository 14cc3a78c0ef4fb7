# SPDX-License-Identifier: Apache-2.0
"""The control node's process loads no socket library and no policy server: its loop stays small."""

import subprocess
import sys

SOCKET_LIBRARIES = {"zmq", "msgpack", "gr00t_policy_core.serving"}


def test_the_control_node_loads_no_socket_library() -> None:
    code = "import gr00t_ros.control.control_node, sys; sys.stdout.write(' '.join(sys.modules))"

    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )

    loaded = set(result.stdout.split())
    assert "gr00t_policy_core.control.player" in loaded
    assert loaded & SOCKET_LIBRARIES == set()
