# SPDX-License-Identifier: Apache-2.0
"""The first and the last step of a request: admission to the queue, and sending the reply."""

from __future__ import annotations

from gr00t_policy_core.errors import PolicyError, ProtocolError
from gr00t_policy_core.serving.server.codec import RequestCodec, encode_error, encode_stale_run
from gr00t_policy_core.serving.server.control_endpoints import ControlEndpoints
from gr00t_policy_core.serving.server.endpoints import POLICY_ENDPOINTS, EndpointTable
from gr00t_policy_core.serving.server.failure_log import FailureLog
from gr00t_policy_core.serving.server.fair_queue import FairQueue
from gr00t_policy_core.serving.server.lifecycle import Lifecycle
from gr00t_policy_core.serving.server.metrics import Metrics
from gr00t_policy_core.serving.server.pending_request import PendingRequest, Reply
from gr00t_policy_core.serving.transport.base import Message, Transport
from gr00t_policy_core.serving.transport.rate_limit import REJECTED_REQUEST_ITEMS
from gr00t_policy_core.serving.wire.api_token import token_matches
from gr00t_policy_core.serving.wire.envelope import Request, RequestReader


class ReplySender:
    """Sends replies through a transport and counts their bytes. Safe in any thread."""

    def __init__(self, transport: Transport, metrics: Metrics) -> None:
        self._transport = transport
        self._metrics = metrics

    def send(self, reply: Reply) -> None:
        """Send a reply; it is dropped if its client has left."""
        self._metrics.sent(len(reply.body))
        self._transport.send(reply.route, reply.body)

    def send_error(self, route: list[bytes], error: BaseException) -> None:
        """Send an error reply."""
        self.send(Reply(route, encode_error(error)))


class Dispatcher:
    """Takes every message that arrives. Safe in any thread.

    Args:
        api_token: The token that every request must carry; None if none is needed.
        lifecycle: Says whether requests are accepted.
        endpoints: The endpoints whose requests go to the queue.
        control: The endpoints that are answered at once, unless `endpoints` has their names.
        queue: Holds the requests that wait for a worker.
        codec: Encodes the replies of the control endpoints.
        replies: Sends the replies of control endpoints, and errors.
        metrics: Counts admitted requests, by endpoint and client.
        failures: Logs rejected requests.
    """

    def __init__(
        self,
        *,
        api_token: str | None,
        lifecycle: Lifecycle,
        endpoints: EndpointTable,
        control: ControlEndpoints,
        queue: FairQueue,
        codec: RequestCodec,
        replies: ReplySender,
        metrics: Metrics,
        failures: FailureLog,
    ) -> None:
        self._api_token = api_token
        self._lifecycle = lifecycle
        self._endpoints = endpoints
        self._control = control
        self._queue = queue
        self._codec = codec
        self._replies = replies
        self._metrics = metrics
        self._failures = failures
        self._requests = RequestReader(endpoints.max_items)

    def dispatch(self, message: Message) -> None:
        """Queue a message's request, answer it at once, or reply with an error. Does not raise."""
        try:
            self._dispatch(message)
        except Exception as error:  # no message may end the server
            self._reject("a request", message, error)

    def _dispatch(self, message: Message) -> None:
        request = self._admit(message)
        if (refusal := self._lifecycle.refusal) is not None:
            raise PolicyError(refusal)
        run = self._lifecycle.run
        if request.run not in (None, run):
            self._replies.send(Reply(message.route, encode_stale_run(run)))
            return
        name = request.endpoint
        if name is None:
            raise ProtocolError("the endpoint must be a string")
        if (endpoint := self._endpoints.find(name)) is not None:
            self._metrics.request(message, name)
            self._enqueue(PendingRequest(message, request, endpoint))
        elif (handler := self._control.find(name)) is not None:
            self._metrics.request(message, name)
            body = self._codec.encode(request, handler(request, message), None)
            self._replies.send(Reply(message.route, body))
        elif name in POLICY_ENDPOINTS:
            raise PolicyError("the policy is still loading; ping tells its state")
        else:
            known = ", ".join(sorted(self._endpoints.names() | self._control.names()))
            raise PolicyError(f"Unknown endpoint: {name[:80]!r} (there are {known})")

    def _admit(self, message: Message) -> Request:
        """Read the envelope of a message and check its token; its client pays for what it costs."""
        charge = message.sender.rate_limiter.charge
        try:
            if message.body is None:
                raise ProtocolError(message.problem)
            request = self._requests.read(message.body, charge)
            if not token_matches(self._api_token, request.token):
                raise PolicyError("Unauthorized: Invalid API token")  # as Isaac-GR00T says it
        except PolicyError:
            charge(REJECTED_REQUEST_ITEMS)
            raise
        message.sender.authenticated = True
        return request

    def _enqueue(self, request: PendingRequest) -> None:
        for rejected in self._queue.put(request):
            error = PolicyError("the server is busy: too many requests are waiting already")
            self._reject(rejected.endpoint.name, rejected.message, error)

    def _reject(self, what: str, message: Message, error: Exception) -> None:
        self._failures.report(what, message.peer, error, message.route[0])
        self._replies.send_error(message.route, error)
