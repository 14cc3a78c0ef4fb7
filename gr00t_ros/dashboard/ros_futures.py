# SPDX-License-Identifier: Apache-2.0
"""Waits in the event loop of the web server for what happens in the ROS thread."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Any


async def result_of(future: Any, timeout_s: float) -> Any:
    """Wait for a future of rclpy, and return its result.

    Raises:
        asyncio.TimeoutError: It has none within the time, s.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Any] = loop.create_future()
    future.add_done_callback(partial(_pass_on, loop, result))
    return await asyncio.wait_for(result, timeout_s)


def _pass_on(loop: asyncio.AbstractEventLoop, result: asyncio.Future[Any], done: Any) -> None:
    """Bring a result from the ROS thread to the thread that waits for it."""

    def finish() -> None:
        if not result.done():
            result.set_result(done.result())

    if not done.cancelled():
        with contextlib.suppress(RuntimeError):  # the server has ended in the meantime
            loop.call_soon_threadsafe(finish)
