# SPDX-License-Identifier: Apache-2.0
"""The environment variables that camera images need in our processes. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gr00t_policy_core.malloc import SETTINGS as MALLOC_SETTINGS

PROFILE_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
OLD_PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"  # the only name that Fast DDS 2 reads
DISTROS_WITH_FAST_DDS_2 = frozenset({"humble", "iron", "jazzy"})


def process_environment(profile: Path, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables to add for a node that handles images, without those that are set.

    Args:
        profile: The Fast DDS profile with the large shared-memory segment.
        inherited: The environment that the process inherits.

    Returns:
        Only the variables that are not set yet: the malloc settings, which keep freed image
        buffers instead of returning them to the system (up to the largest burst stays resident),
        and the Fast DDS profile.
    """
    is_old = inherited.get("ROS_DISTRO") in DISTROS_WITH_FAST_DDS_2
    variable = OLD_PROFILE_VARIABLE if is_old else PROFILE_VARIABLE
    wanted = {**MALLOC_SETTINGS, variable: str(profile)}
    # Newer versions still read the old name, and warn when both are set.
    if OLD_PROFILE_VARIABLE in inherited:
        del wanted[variable]
    return {name: value for name, value in wanted.items() if name not in inherited}
