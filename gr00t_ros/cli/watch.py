# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy watch`: what both nodes do, live in a terminal."""

from __future__ import annotations

import argparse
import time
from typing import Any

from gr00t_policy_core.cli.common import namespace

INTERVAL_S = 0.5  # the statuses come at 2 Hz
SILENT_S = 3.0  # a node without a status for so long is silent
ONCE_S = 5.0  # how long --once waits for both


def add_command(commands: Any) -> None:
    """Add `watch` to the subparsers of the program."""
    parser = commands.add_parser(
        "watch",
        help="watch the nodes of a robot live",
        description="Show the states, latencies, streams and joints of both nodes until Ctrl-C.",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "--namespace",
        type=namespace,
        default="",
        help="namespace of the nodes, such as /robot1 (default: none)",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help=f"show one view as soon as both nodes are heard, within {ONCE_S:.0f} s, and exit",
    )


def run(args: argparse.Namespace) -> int:
    """Show the statuses every `INTERVAL_S`; with --once, 1 if a node is silent."""
    try:
        from rich.live import Live
    except ImportError as error:
        raise ImportError(f"watch needs rich: run pip install '.[top]' ({error})") from None
    import rclpy
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from gr00t_ros.diagnose.live_view import live_view

    context = Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    executor = SingleThreadedExecutor(context=context)
    try:
        watcher = _make_watcher(context, args.namespace)
        executor.add_node(watcher.node)
        with Live(auto_refresh=False, transient=False) as live:
            ends_s = time.monotonic() + ONCE_S
            while True:
                _spin(executor, INTERVAL_S)
                policy, control = watcher.statuses()
                heard = policy is not None and control is not None
                if args.once and not heard and time.monotonic() < ends_s:
                    continue
                live.update(live_view(policy, control), refresh=True)
                if args.once:
                    return 0 if heard else 1
    finally:
        executor.shutdown()
        context.try_shutdown()


def _spin(executor: Any, duration_s: float) -> None:
    ends_s = time.monotonic() + duration_s
    while (left_s := ends_s - time.monotonic()) > 0.0:
        executor.spin_once(timeout_sec=left_s)


def _make_watcher(context: Any, namespace: str) -> Any:
    """A listener to both statuses; a function, because rclpy is imported when a command runs."""
    from rclpy.node import Node

    from gr00t_ros.msg import ControlStatus, PolicyStatus
    from gr00t_ros.node.qos import STATUS

    class Watcher:
        def __init__(self) -> None:
            self.node = Node("gr00t_watch", namespace=namespace, context=context)
            self._heard: dict[str, tuple[float, Any]] = {}
            for name, kind in (("policy_node", PolicyStatus), ("control_node", ControlStatus)):
                self.node.create_subscription(kind, f"{name}/status", self._hear(name), STATUS)

        def _hear(self, name: str) -> Any:
            return lambda status: self._heard.update({name: (time.monotonic(), status)})

        def statuses(self) -> tuple[Any, Any]:
            """The newest status of each node; None for one that is silent."""
            since_s = time.monotonic() - SILENT_S
            fresh = {name: s for name, (at_s, s) in self._heard.items() if at_s >= since_s}
            return fresh.get("policy_node"), fresh.get("control_node")

    return Watcher()
