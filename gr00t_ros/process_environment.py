# SPDX-License-Identifier: Apache-2.0
"""The environment that our processes are started with: what camera images need. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gr00t_policy_core.cli.malloc import SETTINGS as MALLOC_SETTINGS

# FASTRTPS_… is the name that Fast DDS 2 of Humble reads.
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")


def process_environment(
    profile: Path, inherited: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The variables to add for a node that handles images; what the user has set is left alone.

    Args:
        profile: The Fast DDS profile with the large shared-memory segment.
        inherited: The environment that the process inherits.

    Returns:
        Only the variables that are not set yet: the malloc settings, which keep freed image
        buffers instead of returning them to the system (up to the largest burst stays resident),
        and the Fast DDS profile.
    """
    wanted = dict(MALLOC_SETTINGS)
    if not any(name in inherited for name in PROFILE_VARIABLES):
        wanted.update(dict.fromkeys(PROFILE_VARIABLES, str(profile)))
    return {name: value for name, value in wanted.items() if name not in inherited}
