# SPDX-License-Identifier: Apache-2.0
"""Runs the callbacks of nodes in the calling thread, until something is so."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from gr00t_policy_core.errors import PolicyError

SPIN_S = 0.05  # how late Ctrl-C may be noticed
DELIVERY_S = 30.0  # for a message or an answer within this process, on a busy machine


class SteppedExecutor(SingleThreadedExecutor):
    """An executor whose nodes do nothing between two calls of `run_until`.

    Args:
        context: The context of the nodes.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context=context)

    def run_until(
        self, is_so: Callable[[], object], what: str, timeout_s: float | None = DELIVERY_S
    ) -> None:
        """Run callbacks until something is so.

        Args:
            is_so: Asked after each callback.
            what: What it is, for the error.
            timeout_s: How long it may take, s; None for any time.

        Raises:
            PolicyError: It takes longer.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not is_so():
            if deadline_s is not None and time.monotonic() > deadline_s:
                raise PolicyError(f"{what}: not within {timeout_s:g} s")
            self.spin_once(timeout_sec=SPIN_S)
