# SPDX-License-Identifier: Apache-2.0
"""A ROS context whose nodes talk to each other, and to nobody else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence

import rclpy
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions

from gr00t_ros.node.dds_domain import reserve_domain

# Nodes that nobody discovers: since Iron, and the nearest that Humble has.
NO_DISCOVERY = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF", "ROS_LOCALHOST_ONLY": "1"}
# Each may name peers, or a server that introduces peers, whatever the range is.
PEERS = (
    "ROS_STATIC_PEERS",
    "ROS_DISCOVERY_SERVER",
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTRTPS_DEFAULT_PROFILES_FILE",
    "CYCLONEDDS_URI",
)


@contextlib.contextmanager
def isolated_context(args: Sequence[str] = ()) -> Iterator[Context]:
    """A context for nodes that no other process hears, on this machine or another.

    The nodes of one context are one participant of DDS, whose endpoints find each other without
    discovery. The domain is one that no other demo, evaluation or test has, for an RMW that knows
    no discovery range.

    Args:
        args: The arguments of rclpy.

    Raises:
        Exception: rclpy rejects the arguments.
    """
    context = Context()
    domain, lock = reserve_domain()
    with lock, _environment(NO_DISCOVERY, without=PEERS):
        rclpy.init(
            args=list(args),
            context=context,
            domain_id=domain,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        try:
            yield context
        finally:
            context.try_shutdown()


@contextlib.contextmanager
def _environment(variables: Mapping[str, str], without: Sequence[str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in (*variables, *without)}
    os.environ.update(variables)
    for name in without:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
