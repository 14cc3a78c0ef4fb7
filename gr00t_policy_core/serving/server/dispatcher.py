# SPDX-License-Identifier: Apache-2.0
"""What comes in: answered at once, handed to the lanes of the policy, or refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from gr00t_policy_core.errors import PolicyError, PolicyTimeoutError, ProtocolError
from gr00t_policy_core.serving.server.batch_executor import Answering, failure, other_run
from gr00t_policy_core.serving.server.endpoints import POLICY_ENDPOINTS, Endpoint
from gr00t_policy_core.serving.server.failure_log import FailureLog
from gr00t_policy_core.serving.server.jobs import Answer, Job
from gr00t_policy_core.serving.server.metrics import Metrics
from gr00t_policy_core.serving.server.worker import Worker
from gr00t_policy_core.serving.transport.addresses import is_loopback
from gr00t_policy_core.serving.transport.base import Message, Sender, Transport
from gr00t_policy_core.serving.transport.rate_limit import REJECTED_REQUEST_ITEMS
from gr00t_policy_core.serving.wire import envelope as messages
from gr00t_policy_core.serving.wire.api_token import token_matches
from gr00t_policy_core.serving.wire.envelope import Request

AtOnce: TypeAlias = Callable[[Request], Any]


class Reception:
    """Takes what comes, in any thread.

    Args:
        transport: Where messages come from and replies go.
        worker: Who answers what needs its turn.
        answering: Encodes what is answered at once.
        metrics: Told what came and went.
        failures: Told what was refused.
        endpoints: By name, those that need their turn; may grow.
        at_once: By name, those that are answered here, unless `endpoints` has the name, too.
        token: That every request must carry; None lets everyone in.
        encrypted: Clients have proven who they are.
        run: Of the server; a request that was made for another one is refused.
        refusal: Why everything is to be refused; None while it is not.
    """

    def __init__(
        self,
        transport: Transport,
        worker: Worker,
        answering: Answering,
        metrics: Metrics,
        failures: FailureLog,
        *,
        endpoints: Mapping[str, Endpoint],
        at_once: Mapping[str, AtOnce],
        token: str | None,
        encrypted: bool,
        run: str,
        refusal: Callable[[], str | None],
    ) -> None:
        self._transport = transport
        self._worker = worker
        self._answering = answering
        self._metrics = metrics
        self._failures = failures
        self._endpoints = endpoints
        self._at_once = at_once
        self._token = token
        self._encrypted = encrypted
        self._run = run
        self._refusal = refusal
        self._requests = messages.RequestReader(self._max_items)

    def accept(self, message: Message) -> None:
        """Do what a message asks for, or see to it; nothing in it may stop the server."""
        try:
            self._accept(message)
        except Exception as error:
            self._failures.add("a request", message.peer, error)
            self.refuse(message.route, error)

    def refuse(self, route: list[bytes], error: BaseException) -> None:
        """Answer with an error."""
        self._metrics.error(type(error).__name__, route[0])
        self.send(Answer(route, failure(error)))

    def forget(self, sender: Sender) -> None:
        """Drop what waits for a connection that has ended."""
        for job in self._worker.drop(sender):
            waited_s = time.monotonic() - job.received_s
            error = PolicyTimeoutError(
                f"dropped: its client disconnected after {waited_s:.3f} s, before its turn came"
            )
            self._failures.add(job.endpoint.name, job.peer, error)
            self._metrics.error(type(error).__name__, job.client)

    def send(self, answer: Answer) -> None:
        """Send a reply."""
        self._metrics.sent(len(answer.reply))
        self._transport.send(answer.route, answer.reply)

    def _accept(self, message: Message) -> None:
        request = self._admitted(message)
        if (refusal := self._refusal()) is not None:
            raise PolicyError(refusal)
        if request.run not in (None, self._run):
            self.send(Answer(message.route, other_run(self._run)))
            return
        name = request.endpoint
        if name is None:
            raise ProtocolError("the endpoint must be a string")
        endpoint = self._endpoints.get(name)
        if endpoint is not None:
            self._metrics.request(message, name)
            self._submit(Job(message, request, endpoint))
        elif name in self._at_once:
            self._metrics.request(message, name)
            self._answer_at_once(name, request, message)
        elif name in POLICY_ENDPOINTS:
            raise PolicyError("the policy is still loading; ping tells its state")
        else:
            known = ", ".join(sorted({*self._endpoints, *self._at_once}))
            raise PolicyError(f"Unknown endpoint: {name[:80]!r} (there are {known})")

    def _admitted(self, message: Message) -> Request:
        """What a message says, at its client's cost."""
        charge = message.sender.rate_limiter.charge
        try:
            if message.body is None:
                raise ProtocolError(message.problem)
            request = self._requests.read(message.body, charge)
            if not token_matches(self._token, request.token):
                raise PolicyError("Unauthorized: Invalid API token")
        except PolicyError:
            charge(REJECTED_REQUEST_ITEMS)
            raise
        message.sender.authenticated = True
        return request

    def _max_items(self, endpoint: str) -> int:
        known = self._endpoints.get(endpoint)
        return messages.HEAD_ITEMS if known is None else known.max_items

    def _submit(self, job: Job) -> None:
        for refused in self._worker.submit(job):
            error = PolicyError("the server is busy: too many requests are waiting already")
            self._failures.add(refused.endpoint.name, refused.peer, error)
            self.refuse(refused.route, error)

    def _answer_at_once(self, name: str, request: Request, message: Message) -> None:
        unproven = self._token is None and not self._encrypted
        if name == "kill" and unproven and not is_loopback(message.peer):
            raise PolicyError("kill is refused from another host where neither token nor keys are")
        reply = self._answering.encode(request, self._at_once[name](request), None)
        self.send(Answer(message.route, reply))
