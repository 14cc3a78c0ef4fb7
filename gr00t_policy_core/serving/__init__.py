# SPDX-License-Identifier: Apache-2.0
"""Policies across a network: messages of both lines of Isaac-GR00T, a server and a client."""

from gr00t_policy_core.serving.client import PolicyClient
from gr00t_policy_core.serving.images import JpegVideo
from gr00t_policy_core.serving.serializer import Decoded, MsgSerializer
from gr00t_policy_core.serving.server import PolicyServer
from gr00t_policy_core.serving.wire import Dialect

__all__ = ["Decoded", "Dialect", "JpegVideo", "MsgSerializer", "PolicyClient", "PolicyServer"]
