# SPDX-License-Identifier: Apache-2.0
"""A policy on the network, for clients of this package and of both lines of Isaac-GR00T."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from gr00t_policy_core.errors import ClosedError, PolicyError, ProtocolError, SpecError
from gr00t_policy_core.policy import BasePolicy
from gr00t_policy_core.serving import messages
from gr00t_policy_core.serving.endpoints import Endpoint, Handler
from gr00t_policy_core.serving.messages import Request
from gr00t_policy_core.serving.security import is_loopback, token_matches
from gr00t_policy_core.serving.serializer import Decoded, MsgSerializer
from gr00t_policy_core.serving.transport import LINGER_MS, Message, Router
from gr00t_policy_core.serving.wire import Dialect
from gr00t_policy_core.serving.worker import Job, Worker

logger = logging.getLogger(__name__)

REPLY_FORMATS = ("auto", "envelope", "bare")
REMEMBERED_CLIENTS = 1024


class PolicyServer:
    """Serves a policy: one thread for the sockets, one for the policy.

    The address is bound here; clients are answered from `run` or `start` on. Requests are
    answered one at a time and in order, but ``ping`` and ``kill`` at once.

    Args:
        policy: Answers ``get_action``, ``reset``, ``get_modality_config``, ``get_dimensions``.
        host: ``"*"`` for every interface, or the address or name of one.
        port: 0 picks a free one; `port` then tells which.
        api_token: Every request must carry it; None lets everyone in.
        reply_format: ``"auto"`` answers each client in the form that it understands (design of
            the two forms: `gr00t_policy_core.serving.messages`); ``"envelope"`` or ``"bare"``
            forces one for every client.
        serializer: A subclass, where other classes of objects travel.
        max_message_bytes: A client that announces a larger request is disconnected.
        max_queued_requests: Beyond these, requests are answered with an error at once.
        stop_timeout_s: How long `stop` waits for the request in progress.

    Raises:
        AddressError: The server cannot listen there; another program does already, for example.
        SpecError: A bad setting.
    """

    def __init__(
        self,
        policy: BasePolicy,
        host: str = "*",
        port: int = 5555,
        api_token: str | None = None,
        *,
        reply_format: str = "auto",
        serializer: type[MsgSerializer] = MsgSerializer,
        max_message_bytes: int = 256 * 2**20,
        max_queued_requests: int = 64,
        stop_timeout_s: float = 5.0,
    ) -> None:
        problems = list(_problems(api_token, reply_format))
        if problems:
            raise SpecError("bad server setting", problems)
        self.policy = policy
        self.host = host
        self._token = api_token
        self._reply_format = reply_format
        self._serializer = serializer
        self._stop_timeout_s = stop_timeout_s
        self._endpoints: dict[str, Endpoint] = {}
        self._capabilities = list(getattr(policy, "get_capabilities", tuple)())
        self._at_once: dict[str, Callable[[], Any]] = {"ping": self._ping, "kill": self._kill}
        self._client_dialects: OrderedDict[bytes, Dialect] = OrderedDict()
        self._register_policy(policy)
        self._state = threading.RLock()
        self._begun = False
        self._stopping = False
        self._done = threading.Event()
        self._own_threads: set[int] = set()
        self._router = Router(host, port, max_message_bytes=max_message_bytes)
        self._worker = Worker(self._answer, self._router.wake, max_queued_requests)

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self._router.port

    def register_endpoint(self, name: str, handler: Handler, requires_input: bool = True) -> None:
        """Answer requests for `name` with what `handler` returns.

        Args:
            name: A name in use is taken over.
            handler: Gets the entries of the request's data as keyword arguments where its
                signature takes them, else the data as its one argument. It runs in the policy's
                thread, never beside another handler. What it raises becomes an error reply.
            requires_input: False: the handler is called without arguments.

        Raises:
            SpecError: No name, or a handler that cannot be called.
        """
        self._endpoints[name] = Endpoint.of(name, handler, requires_input)

    def run(self) -> None:
        """Answer requests until `stop`, or until a client sends ``kill``.

        Raises:
            ClosedError: The server has run already.
        """
        self._begin()
        self._serve()

    def start(self) -> PolicyServer:
        """Do what `run` does in a thread of the server's own; returns the server.

        Raises:
            ClosedError: The server has run already.
        """
        self._begin()
        threading.Thread(target=self._serve, name="gr00t-policy-server", daemon=True).start()
        return self

    def stop(self) -> None:
        """Finish the request in progress, refuse the rest, and close everything.

        Safe in any thread, in a handler, in a signal handler, and more than once. Returns when
        the server has ended, or after `stop_timeout_s`; at once in the server's own threads.
        """
        self._stopping = True
        self._router.wake()
        with self._state:
            if not self._begun:
                self._begun = True
                self._router.close()
                self._done.set()
        if threading.get_ident() not in self._own_threads:
            self._done.wait(self._stop_timeout_s + 2 * LINGER_MS / 1000)

    def __enter__(self) -> PolicyServer:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _register_policy(self, policy: BasePolicy) -> None:
        self.register_endpoint("get_action", policy.get_action)
        self.register_endpoint("reset", policy.reset)
        for name in ("get_modality_config", "get_dimensions"):
            self.register_endpoint(name, getattr(policy, name, dict), requires_input=False)

    def _begin(self) -> None:
        with self._state:
            if self._begun:
                raise ClosedError("a PolicyServer runs only once; make a new one")
            self._begun = True

    def _serve(self) -> None:
        self._own_threads.add(threading.get_ident())
        try:
            self._worker.start()
            self._announce()
            with self._router.woken_by_signals():
                while not self._stopping:
                    self._turn(None)
                self._finish()
        finally:
            self._worker.close()
            self._router.close()
            self._done.set()

    def _announce(self) -> None:
        logger.info("policy server is listening on %s", self._router.address)
        if self._token is None and not is_loopback(self.host):
            logger.warning(
                "%s is open to the network without a token: whoever reaches it can drive the "
                "policy and stop the server; set api_token, or host='127.0.0.1'",
                self._router.address,
            )

    def _finish(self) -> None:
        """Wait for the request in progress; whatever else comes is refused."""
        ends_at = time.monotonic() + self._stop_timeout_s
        for job in self._worker.close():
            self._refuse(job.route, PolicyError("the server is stopping"))
        while self._worker.busy and (remaining_s := ends_at - time.monotonic()) > 0:
            self._turn(remaining_s)
        if self._worker.busy:
            logger.error(
                "stopping although %s has not returned within %.1f s",
                self._worker.in_progress,
                self._stop_timeout_s,
            )

    def _turn(self, timeout_s: float | None) -> None:
        self._router.wait(timeout_s)
        for answer in self._worker.collect():
            self._router.send(answer.route, answer.reply)
        message = self._router.receive()
        if message is not None:
            self._dispatch(message)

    def _dispatch(self, message: Message) -> None:
        """Answer a message, or hand it to the worker; nothing in it may stop the server."""
        try:
            self._accept(message)
        except Exception as error:
            _log_failure("a request", message.peer, error)
            self._refuse(message.route, error)

    def _accept(self, message: Message) -> None:
        if message.body is None:
            raise ProtocolError(message.problem)
        request = messages.read_request(message.body)
        if not token_matches(self._token, request.token):
            raise PolicyError("Unauthorized: Invalid API token")
        if self._stopping:
            raise PolicyError("the server is stopping")
        name = request.endpoint
        if name is None:
            raise ProtocolError("the endpoint must be a string")
        endpoint = self._endpoints.get(name)
        if endpoint is not None:
            if not self._worker.submit(Job(message.route, request, endpoint, message.peer)):
                raise PolicyError("the server is busy: too many requests are waiting already")
        elif name in self._at_once:
            result = self._at_once[name]()
            self._router.send(message.route, self._encode(request, result, None))
        else:
            known = ", ".join(sorted({*self._endpoints, *self._at_once}))
            raise PolicyError(f"Unknown endpoint: {name[:80]!r} (there are {known})")

    def _refuse(self, route: list[bytes], error: BaseException) -> None:
        self._router.send(route, _failure(error))

    def _ping(self) -> dict[str, Any]:
        reply: dict[str, Any] = {"status": "ok", "message": "Server is running"}
        if self._capabilities:
            reply["capabilities"] = self._capabilities
        return reply

    def _kill(self) -> None:
        logger.info("a client asked the server to stop")
        self._stopping = True

    def _answer(self, job: Job) -> bytes:
        """Compute a reply, in the worker's thread."""
        self._own_threads.add(threading.get_ident())
        try:
            data = job.request.data
            decoded = Decoded(None, None) if data is None else self._serializer.decode(data)
            dialect = self._dialect_of(job.route[0], decoded.dialect)
            result = job.endpoint.call(decoded.value)
            return self._encode(job.request, result, dialect)
        except BaseException as error:
            _log_failure(job.endpoint.name, job.peer, error)
            return _failure(error)

    def _dialect_of(self, client: bytes, seen: Dialect | None) -> Dialect | None:
        """The dialect of this request, else the last one of the same client."""
        dialect = seen or self._client_dialects.pop(client, None)
        if dialect is not None:
            self._client_dialects[client] = dialect
            self._client_dialects.move_to_end(client)
            if len(self._client_dialects) > REMEMBERED_CLIENTS:
                self._client_dialects.popitem(last=False)
        return dialect

    def _encode(self, request: Request, result: Any, dialect: Dialect | None) -> bytes:
        form = self._reply_format
        if form == "auto":
            form = "envelope" if request.envelope else "bare"
        reply = messages.success(result) if form == "envelope" else result
        return self._serializer.to_bytes(reply, dialect=dialect)


def _problems(api_token: object, reply_format: object) -> list[str]:
    problems = []
    if api_token is not None and not (isinstance(api_token, str) and api_token):
        problems.append("api_token must be a non-empty str, or None for no token")
    if reply_format not in REPLY_FORMATS:
        problems.append(f"reply_format must be one of {REPLY_FORMATS}, got {reply_format!r}")
    return problems


def _failure(error: BaseException) -> bytes:
    return MsgSerializer.to_bytes(messages.failure(messages.error_text(error)))


def _log_failure(what: str, peer: str, error: BaseException) -> None:
    text = " ".join(messages.error_text(error).split())[:300]
    logger.error("%s from %s failed: %s", what, peer, text)
    logger.debug("%s from %s failed", what, peer, exc_info=error)
