# SPDX-License-Identifier: Apache-2.0
"""GR00T policies without ROS: the interface, the wire, the server and the client."""

from gr00t_policy_core.embodiment import EmbodimentTag
from gr00t_policy_core.errors import (
    AddressError,
    CheckpointError,
    ClosedError,
    DatasetError,
    EncodingError,
    PolicyError,
    PolicyTimeoutError,
    ProtocolError,
    RemoteError,
    SpecError,
)
from gr00t_policy_core.modality import (
    ActionConfig,
    ActionFormat,
    ActionRepresentation,
    ActionType,
    ModalityConfig,
)
from gr00t_policy_core.policies import Gr00tSimPolicyWrapper, ReplayPolicy, SimPolicyWrapper
from gr00t_policy_core.policy import BasePolicy, ModalityPolicy, PolicyWrapper, current_client
from gr00t_policy_core.serving import Dialect, MsgSerializer, PolicyClient, PolicyServer

__all__ = [
    "ActionConfig",
    "ActionFormat",
    "ActionRepresentation",
    "ActionType",
    "AddressError",
    "BasePolicy",
    "CheckpointError",
    "ClosedError",
    "DatasetError",
    "Dialect",
    "EmbodimentTag",
    "EncodingError",
    "Gr00tSimPolicyWrapper",
    "ModalityConfig",
    "ModalityPolicy",
    "MsgSerializer",
    "PolicyClient",
    "PolicyError",
    "PolicyServer",
    "PolicyTimeoutError",
    "PolicyWrapper",
    "ProtocolError",
    "RemoteError",
    "ReplayPolicy",
    "SimPolicyWrapper",
    "SpecError",
    "current_client",
]
