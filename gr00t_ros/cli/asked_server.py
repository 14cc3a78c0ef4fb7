# SPDX-License-Identifier: Apache-2.0
"""The settings of a robot's YAML file, for a server that the command line names."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from gr00t_policy_core.cli.common import api_token

if TYPE_CHECKING:
    from gr00t_ros.contract.policy_settings import PolicySettings


def asked_server(settings: PolicySettings, args: argparse.Namespace) -> PolicySettings:
    """The file's settings, for the server that the command line names.

    Args:
        settings: Those of the file.
        args: The arguments of a command that has the flags of a server.
    """
    return replace(
        settings,
        backend="server",
        host=args.host,
        hosts=(),
        port=settings.port if args.port is None else args.port,
        token=api_token(args) or settings.token,
        server_key=args.server_key or settings.server_key,
        keys=args.keys or settings.keys,
        timeout_s=args.timeout_ms / 1000,
    )
