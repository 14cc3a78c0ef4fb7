# SPDX-License-Identifier: Apache-2.0
"""The endpoints ``ping``, ``metrics``, ``client_info`` and ``kill``: none waits for the policy."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from gr00t_policy_core.errors import PolicyError
from gr00t_policy_core.serving.server.execution_backend import ExecutionBackend
from gr00t_policy_core.serving.server.fair_queue import FairQueue
from gr00t_policy_core.serving.server.lifecycle import Lifecycle
from gr00t_policy_core.serving.server.metrics import Metrics
from gr00t_policy_core.serving.server.settings import ServerSettings
from gr00t_policy_core.serving.transport.addresses import is_loopback
from gr00t_policy_core.serving.transport.base import Message, Transport
from gr00t_policy_core.serving.wire import jpeg
from gr00t_policy_core.serving.wire.client_info import CLIENT_INFO, MAX_ITEMS, ClientInfo
from gr00t_policy_core.serving.wire.envelope import Request
from gr00t_policy_core.serving.wire.serializer import MsgSerializer

logger = logging.getLogger(__name__)

ControlHandler: TypeAlias = Callable[[Request, Message], Any]


class ControlEndpoints:
    """Answers for the server itself. Safe in any thread.

    Args:
        settings: Say who may use the server.
        lifecycle: Holds the state, which ``ping`` reports and ``kill`` ends.
        queue: Reports the requests that wait and those in progress.
        backend: Adds its own entries to the reply to ``metrics``.
        metrics: The counts that the reply to ``metrics`` begins with.
        transport: Wakes up after ``kill``, so that the server notices that it has to stop.
    """

    def __init__(
        self,
        settings: ServerSettings,
        lifecycle: Lifecycle,
        queue: FairQueue,
        backend: ExecutionBackend,
        metrics: Metrics,
        transport: Transport,
    ) -> None:
        self._settings = settings
        self._lifecycle = lifecycle
        self._queue = queue
        self._backend = backend
        self._metrics = metrics
        self._transport = transport
        self._handlers: dict[str, ControlHandler] = {
            "ping": self._ping,
            "metrics": lambda request, message: self.report(),
            CLIENT_INFO: self._client_info,
            "kill": self._kill,
        }

    def names(self) -> set[str]:
        """The names of the endpoints."""
        return set(self._handlers)

    def find(self, name: str) -> ControlHandler | None:
        """Return the handler of a name; None if there is none."""
        return self._handlers.get(name)

    def report(self) -> dict[str, Any]:
        """The state of the server and all counts; times in s.

        docs/how-to/serve-many-robots.md lists the entries.
        """
        served = self._lifecycle.served
        return {
            "state": self._lifecycle.state,
            **self._metrics.snapshot(),
            "waiting": {"requests": len(self._queue), "bytes": self._queue.waiting_bytes},
            "in_progress": ", ".join(self._queue.in_progress) or None,
            "max_batch": 1 if served is None else served.max_batch,
            "encrypted": self._settings.is_encrypted,
            "open_to_network": self._settings.is_open_to_network,
            **self._backend.status(),
        }

    def _ping(self, request: Request, message: Message) -> dict[str, Any]:
        """The reply of Isaac-GR00T's server; for clients of this package, capabilities and run."""
        reply: dict[str, Any] = {"status": "ok", "message": "Server is running"}
        if request.envelope:
            served = self._lifecycle.served
            capabilities = () if served is None else served.capabilities
            own = [CLIENT_INFO, *([jpeg.CAPABILITY] * jpeg.is_available())]
            reply["capabilities"] = [*capabilities, *own]
            reply["run"] = self._lifecycle.run
        if self._lifecycle.state != "ready":
            reply["state"] = self._lifecycle.state
        return reply

    def _client_info(self, request: Request, message: Message) -> dict[str, Any]:
        """Take what a client tells about a robot that asks for no actions at present."""
        if request.data is None:
            raise PolicyError(f"{CLIENT_INFO} needs data: a map with what the robot does")
        charge = message.sender.rate_limiter.charge
        told = MsgSerializer.decode(request.data, max_items=MAX_ITEMS, charge=charge)
        self._metrics.told(message.route[0], ClientInfo.of(told.value))
        return {}

    def _kill(self, request: Request, message: Message) -> None:
        if not self._settings.authenticates_clients and not is_loopback(message.peer):
            raise PolicyError(
                "kill is refused: a server without api_token or keys accepts it from its own "
                "host only"
            )
        logger.info("a client asked the server to stop")
        self._lifecycle.stop()
        self._transport.wake()
