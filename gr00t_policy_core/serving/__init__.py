# SPDX-License-Identifier: Apache-2.0
"""Policies across a network: messages of both lines of Isaac-GR00T, a server and a client."""

from gr00t_policy_core.serving.client.policy_client import PolicyClient
from gr00t_policy_core.serving.server.policy_server import PolicyServer
from gr00t_policy_core.serving.wire.arrays import Dialect
from gr00t_policy_core.serving.wire.jpeg import JpegVideo
from gr00t_policy_core.serving.wire.serializer import Decoded, MsgSerializer

__all__ = ["Decoded", "Dialect", "JpegVideo", "MsgSerializer", "PolicyClient", "PolicyServer"]
