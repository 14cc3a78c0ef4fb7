# SPDX-License-Identifier: Apache-2.0
"""Every ROS parameter of the nodes, by its full name.

One table serves three readers: the nodes declare from it, the contract is checked against it, and
`ros2 param describe` shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gr00t_ros.contract.conditions import ASYNC
from gr00t_ros.contract.entry_parameters import (
    ACTION_PARAMETERS,
    IGNORE,
    SOURCES,
    STATE_PARAMETERS,
    TYPE,
    VIDEO_PARAMETERS,
    WORKSPACE_PARAMETERS,
)
from gr00t_ros.contract.motion_parameters import MOTION_PARAMETERS
from gr00t_ros.contract.parameter import Parameter
from gr00t_ros.contract.policy_parameters import POLICY_PARAMETERS
from gr00t_ros.contract.record_parameters import RECORD_PARAMETERS
from gr00t_ros.contract.visualize_parameters import VISUALIZE_PARAMETERS
from gr00t_ros.interfaces.interface import CommandInterface, StateInterface
from gr00t_ros.interfaces.registry import (
    UnknownTypeError,
    command_types,
    find_command,
    find_state,
    state_types,
)

VIDEO, STATE, ACTION = "video", "state", "action"
MODALITIES = (VIDEO, STATE, ACTION)
WORKSPACE = "workspace"
BLOCKS = (*MODALITIES, WORKSPACE)  # of the YAML file, with a block for each key
CHUNK_TOPIC = "action_chunk"  # from the policy node to the control node
POLICY_STATUS_TOPIC = "policy_node/status"
INTERVENTION_TOPIC = "intervention"  # from the control node: whether a person drives
INFERENCES = ("async", "sync")

# Parameters that rclpy itself declares or understands.
ROS_PARAMETERS = ("use_sim_time", "start_type_description_service", "qos_overrides")

OBSERVATION_PARAMETERS = (
    Parameter("instruction", "", "instruction for the policy, until one comes on ~/instruction"),
    Parameter(
        "action_rate_hz",
        0.0,
        "Hz, rate of the data that the policy was trained on: the step of its action chunks",
        0.1,
        1000.0,
        required=True,
    ),
    Parameter("control_rate_hz", 100.0, "Hz, rate at which commands are published", 1.0, 1000.0),
    Parameter(
        "inference",
        "async",
        "async: the next chunk is computed while this one is played; sync: after it",
        choices=INFERENCES,
    ),
    Parameter(
        "replan_interval_s",
        0.0,
        "s, time between two observations sent to the policy; 0: as late as the measured latency "
        "allows",
        0.0,
        60.0,
        only_with=ASYNC,
    ),
    Parameter(
        "task_timeout_s",
        3.0,
        "s, a task node that sends no status for this long while its task runs has ended, or "
        "hangs, and inference stops; it sends one every 0.5 s",
        1.0,
        600.0,
    ),
    Parameter("max_age_s", 0.5, "s, maximum age of a stream's newest message", 0.001, 60.0),
    Parameter(
        "max_skew_s",
        0.1,
        "s, largest difference between the stamp of a sample and the time of its observation; a "
        "message that is stamped further ahead of the node's clock is rejected",
        0,
        60,
    ),
)
PROCESS_PARAMETERS = (
    Parameter("autostart", False, "configure, activate and start inference at startup"),
    Parameter(
        "end_with_pid",
        0,
        "id of a process with which the node ends, after the robot came to rest; 0: none. "
        "policy.launch.py sets its own (`end_with_launch:=false`: it does not)",
        0,
        2**22,
    ),
)
TOP = (
    *POLICY_PARAMETERS,
    *OBSERVATION_PARAMETERS,
    *MOTION_PARAMETERS,
    *RECORD_PARAMETERS,
    *VISUALIZE_PARAMETERS,
    *PROCESS_PARAMETERS,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One block of the YAML file: a camera, a stream of a state, an action, or a workspace.

    Args:
        modality: ``video``, ``state``, ``action`` or ``workspace``.
        name: ``action.arm``; ``state.arm.left`` for a source of a state that has several.
        parameters: Those that it may have, by short name.
    """

    modality: str
    name: str
    parameters: tuple[Parameter, ...]

    @property
    def has_type(self) -> bool:
        """Whether the entry is a stream of one message type, which its `type` names."""
        return TYPE in self.parameters

    @property
    def has_sources(self) -> bool:
        """Whether it is a state that is put together from other entries."""
        return self.parameters == (SOURCES,)

    @property
    def is_ignored(self) -> bool:
        """Whether it is an action that the robot has no use for."""
        return self.parameters == (IGNORE,)

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The value of each of its parameters by short name, or its default."""
        return {p.name: values.get(f"{self.name}.{p.name}", p.default) for p in self.parameters}


def keys_of(modality: str, values: Mapping[str, Any]) -> list[str]:
    """The keys of a modality that parameter names have, in the order of their appearance.

    What is a source of a state is not a key of its own. Workspaces have keys in the same way.
    """
    prefix = f"{modality}."
    found = (name[len(prefix) :].rpartition(".")[0] for name in values if name.startswith(prefix))
    keys = [key for key in dict.fromkeys(found) if key]
    if modality != STATE:
        return keys
    sources = {f"{key}.{source}" for key in keys for source in sources_of(key, values)}
    return [key for key in keys if key not in sources]


def sources_of(key: str, values: Mapping[str, Any]) -> list[str]:
    """The names of the streams that a state is put together from; empty where it is one stream."""
    sources = values.get(f"{STATE}.{key}.{SOURCES.name}")
    return [name for name in sources if isinstance(name, str)] if isinstance(sources, list) else []


def entries(values: Mapping[str, Any]) -> Iterator[Entry]:
    """The entries that the user's parameters name, with the parameters that each may have."""
    for key in keys_of(VIDEO, values):
        yield Entry(VIDEO, f"{VIDEO}.{key}", VIDEO_PARAMETERS)
    for key in keys_of(STATE, values):
        yield from _state_entries(key, values)
    for key in keys_of(ACTION, values):
        name = f"{ACTION}.{key}"
        if values.get(f"{name}.{IGNORE.name}") is True:
            yield Entry(ACTION, name, (IGNORE,))
            continue
        of_type = _type_parameters(values, name, find_command)
        yield Entry(ACTION, name, (*ACTION_PARAMETERS, IGNORE, *of_type))
    for key in keys_of(WORKSPACE, values):
        yield Entry(WORKSPACE, f"{WORKSPACE}.{key}", WORKSPACE_PARAMETERS)


def parameters_for(values: Mapping[str, Any]) -> Iterator[Parameter]:
    """Every parameter under its full name: those at the top, and those of each entry in use.

    Args:
        values: The user's parameters; those named `type`, `sources` and `ignore` decide which
            parameters an entry has.
    """
    yield from TOP
    for entry in entries(values):
        for parameter in entry.parameters:
            yield replace(parameter, name=f"{entry.name}.{parameter.name}")


def default_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The default of every parameter that a node may have declared, by full name.

    An entry whose type, sources or ignore was changed since has declared parameters that it does
    not have any more.
    """
    defaults = {parameter.name: parameter.default for parameter in parameters_for(values)}
    for entry in entries(values):
        types = types_of(entry.modality).values()
        of_types = (parameter for cls in types for parameter in cls.parameters)
        for parameter in (*common_parameters(entry.modality), *of_types):
            defaults.setdefault(f"{entry.name}.{parameter.name}", parameter.default)
    return defaults


def types_of(modality: str) -> Mapping[str, type[StateInterface] | type[CommandInterface]]:
    """The registered message types of states or actions, by name; cameras have none."""
    if modality == STATE:
        return state_types()
    return command_types() if modality == ACTION else {}


def common_parameters(modality: str) -> tuple[Parameter, ...]:
    """The parameters that entries of a modality have whatever their type, by short name."""
    if modality == VIDEO:
        return VIDEO_PARAMETERS
    if modality == WORKSPACE:
        return WORKSPACE_PARAMETERS
    return (*STATE_PARAMETERS, SOURCES) if modality == STATE else (*ACTION_PARAMETERS, IGNORE)


def _state_entries(key: str, values: Mapping[str, Any]) -> Iterator[Entry]:
    name, sources = f"{STATE}.{key}", sources_of(key, values)
    if not sources:
        of_type = _type_parameters(values, name, find_state)
        yield Entry(STATE, name, (*STATE_PARAMETERS, SOURCES, *of_type))
        return
    yield Entry(STATE, name, (SOURCES,))
    for source in dict.fromkeys(sources):
        of_type = _type_parameters(values, f"{name}.{source}", find_state)
        yield Entry(STATE, f"{name}.{source}", (*STATE_PARAMETERS, *of_type))


def _type_parameters(
    values: Mapping[str, Any],
    entry: str,
    find: Callable[[str], type[StateInterface] | type[CommandInterface]],
) -> tuple[Parameter, ...]:
    """Those of the entry's message type; none while it names no type."""
    name = values.get(f"{entry}.{TYPE.name}")
    try:
        return find(name).parameters if isinstance(name, str) and name else ()
    except UnknownTypeError:
        return ()
