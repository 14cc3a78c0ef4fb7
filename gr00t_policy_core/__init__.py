# SPDX-License-Identifier: Apache-2.0
"""GR00T policies without ROS: the policy interface, the wire, the server and the client.

A name below loads its module when it is first used (PEP 562). So a process that needs
`gr00t_policy_core.control` alone, such as the control node, loads no socket library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_MODULES = {
    "ActionConfig": "modality",
    "ActionFormat": "modality",
    "ActionRepresentation": "modality",
    "ActionType": "modality",
    "AddressError": "errors",
    "BasePolicy": "policy",
    "CheckpointError": "errors",
    "ClosedError": "errors",
    "DatasetError": "errors",
    "Dialect": "serving",
    "EmbodimentTag": "embodiment",
    "EncodingError": "errors",
    "Gr00tSimPolicyWrapper": "policies",
    "ModalityConfig": "modality",
    "ModalityPolicy": "policy",
    "MsgSerializer": "serving",
    "PolicyClient": "serving",
    "PolicyError": "errors",
    "PolicyServer": "serving",
    "PolicyTimeoutError": "errors",
    "PolicyWrapper": "policy",
    "ProtocolError": "errors",
    "RemoteError": "errors",
    "ReplayPolicy": "policies",
    "SimPolicyWrapper": "policies",
    "SpecError": "errors",
    "current_client": "policy",
}


def __getattr__(name: str) -> object:
    """Load a public name on first use, and keep it as an attribute of this module."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
