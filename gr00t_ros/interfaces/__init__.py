# SPDX-License-Identifier: Apache-2.0
"""The message types that states, cameras and commands travel in.

A message type of your own needs what is exported here; see docs/how-to/add-a-message-type.md.
"""

from gr00t_ros.contract.parameter import Parameter
from gr00t_ros.interfaces.interface import (
    CommandInterface,
    ConversionError,
    LimitedBy,
    MeasuredPose,
    StateInterface,
)

__all__ = [
    "CommandInterface",
    "ConversionError",
    "LimitedBy",
    "MeasuredPose",
    "Parameter",
    "StateInterface",
]
