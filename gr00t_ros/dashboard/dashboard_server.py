# SPDX-License-Identifier: Apache-2.0
"""The dashboard as one object: the robot on one side, the web server on the other."""

from __future__ import annotations

import errno
import socket
from typing import Any

import uvicorn

from gr00t_policy_core.serving.transport.bind_addresses import bind_error
from gr00t_ros.contract.contract import Contract
from gr00t_ros.dashboard.access import TokenGate
from gr00t_ros.dashboard.feed import Feed
from gr00t_ros.dashboard.page_connection import PageConnection
from gr00t_ros.dashboard.robot_link import RobotLink
from gr00t_ros.dashboard.web_app import make_app

MAX_REQUEST_BYTES = 16_384  # of a WebSocket message; a page sends none
END_S = 2  # for answers that are under way


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise bind_error(host, port, error) from None
        raise


class DashboardServer:
    """Serves the page; listens once it is made.

    Args:
        contract: The robot.
        host: The name or address to listen on.
        port: The TCP port, 0 for any free one.
        token: The first part of every path.
        namespace: The namespace of the nodes.

    Raises:
        OSError: The address cannot be listened on.
    """

    def __init__(
        self, contract: Contract, *, host: str, port: int, token: str, namespace: str = ""
    ) -> None:
        self._socket = _listening(host, port)
        self._host = host
        self._token = token
        self.feed = Feed()
        self._link = RobotLink(contract, self.feed, namespace=namespace)
        app: Any = TokenGate(
            make_app(contract, self.feed, self._link), token=token, bound_host=host
        )
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                access_log=False,  # the address of each request holds the token
                log_level="warning",
                ws_max_size=MAX_REQUEST_BYTES,
                ws_per_message_deflate=False,  # pictures are compressed
                http=PageConnection,
                timeout_graceful_shutdown=END_S,
                server_header=False,
                lifespan="off",
            )
        )

    @property
    def url(self) -> str:
        """The address of the page, with the token."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._socket.getsockname()[1]}/{self._token}/"

    def run(self) -> None:
        """Serve until `stop`, or in the main thread until SIGINT or SIGTERM."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self.close()

    def close(self) -> None:
        """Listen no more, and end the thread of ROS; may be called again."""
        self._link.close()
        self._socket.close()

    def stop(self) -> None:
        """Have `run` return, from any thread."""
        self._server.should_exit = True
