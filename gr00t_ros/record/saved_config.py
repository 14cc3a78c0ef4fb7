# SPDX-License-Identifier: Apache-2.0
"""The contract as every episode keeps it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gr00t_ros.bags.episode_info import config_text
from gr00t_ros.contract.parameters import PROCESS_PARAMETERS, ROS_PARAMETERS

# Episodes are handed on: what opens a server stays here. The others concern the process only.
SECRETS = frozenset({"policy.token", "policy.keys"})
LEFT_OUT = SECRETS | {parameter.name for parameter in PROCESS_PARAMETERS} | set(ROS_PARAMETERS)


def saved_config(values: Mapping[str, Any], resolve: Callable[[str], str]) -> str:
    """The parameters that the user gave, as a parameter file, without secrets.

    Args:
        values: The values by full name.
        resolve: Returns the full name of a topic, after remapping and within the node's namespace.
    """
    kept = {name: value for name, value in values.items() if name not in LEFT_OUT}
    return config_text({name: _resolved(name, value, resolve) for name, value in kept.items()})


def _resolved(name: str, value: Any, resolve: Callable[[str], str]) -> Any:
    if name.endswith("topics"):
        return [resolve(topic) for topic in value]
    return resolve(value) if name.endswith("topic") and value else value
