# SPDX-License-Identifier: Apache-2.0
"""The name by which messages tell one run of a node from another."""

from __future__ import annotations

import secrets

from rclpy.node import Node


def run_name(node: Node) -> str:
    """A new name for this run of a node: ``/ns/policy_node#1f2e3d4c``."""
    return f"{node.get_fully_qualified_name()}#{secrets.token_hex(4)}"
