# SPDX-License-Identifier: Apache-2.0
"""The environment of ROS processes that tests kill: without shared memory.

A process that is killed leaves shared memory behind on which Fast DDS crashes, now and then, in
another process: in the one of the tests, when it destroys its node.
"""

from __future__ import annotations

import os
from pathlib import Path

from gr00t_ros.node.process_environment import process_environment

PROFILE = Path(__file__).parent / "udp_on_loopback.xml"


def udp_environment() -> dict[str, str]:
    """The present environment, with a profile of Fast DDS for UDP on loopback."""
    others = {**os.environ, **process_environment(PROFILE)}
    return {**others, "ROS_AUTOMATIC_DISCOVERY_RANGE": "SYSTEM_DEFAULT"}  # as the profile says
