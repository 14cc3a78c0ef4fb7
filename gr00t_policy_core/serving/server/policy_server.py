# SPDX-License-Identifier: Apache-2.0
"""A policy on the network, for clients of this package and of both lines of Isaac-GR00T."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from gr00t_policy_core.errors import ClosedError, PolicyError
from gr00t_policy_core.policy import BasePolicy
from gr00t_policy_core.serving.server import settings
from gr00t_policy_core.serving.server.batch_executor import Answering
from gr00t_policy_core.serving.server.dispatcher import Reception
from gr00t_policy_core.serving.server.endpoints import Endpoint, Handler, of_policy
from gr00t_policy_core.serving.server.execution_backend import Lanes, OneLane
from gr00t_policy_core.serving.server.failure_log import FailureLog
from gr00t_policy_core.serving.server.fair_queue import FairQueue
from gr00t_policy_core.serving.server.metrics import Metrics
from gr00t_policy_core.serving.server.request_limits import RequestLimits
from gr00t_policy_core.serving.server.worker import Worker
from gr00t_policy_core.serving.transport.addresses import is_loopback
from gr00t_policy_core.serving.transport.base import LINGER_S
from gr00t_policy_core.serving.transport.curve_keys import ServerKeys
from gr00t_policy_core.serving.transport.tcp_connection_table import ConnectionLimits
from gr00t_policy_core.serving.wire import jpeg as images
from gr00t_policy_core.serving.wire.envelope import Request
from gr00t_policy_core.serving.wire.error_text import log_text
from gr00t_policy_core.serving.wire.serializer import MsgSerializer

logger = logging.getLogger(__name__)

STOPPING = "the server is stopping"


class PolicyServer:
    """Serves a policy to many clients: threads for the sockets, one or several for the policy.

    The address is bound here; clients are answered from `run` or `start` on. ``ping``, ``metrics``
    and ``kill`` are answered at once. All else waits for its turn: clients take turns, each in its
    own order, and requests for actions that wait are answered together where the policy says that
    it can (`BasePolicy.max_batch_size`), or at the same time where there are several `lanes`.

    Args:
        policy: Answers ``get_action``, ``reset``, ``get_modality_config``, ``get_dimensions``. Or
            a function that makes it: it is called in the policy's thread, and until it returns
            the server's state, which ``ping`` tells, is ``loading``.
        host: ``"*"`` for every interface, or the address or name of one; or ``"ipc:///path"``, a
            Unix socket, for clients of this machine whom its file lets in.
        port: 0 picks a free one; `port` then tells which. Not used with a Unix socket.
        api_token: Every request must carry it; None lets everyone in.
        reply_format: ``"auto"`` answers each client in the form that it understands (design of
            the two forms: `gr00t_policy_core.serving.wire.envelope`); ``"envelope"`` or ``"bare"``
            forces one for every client.
        serializer: A subclass, where other classes of objects travel.
        keys: Folder of CURVE keys (`gr00t_policy_core.serving.transport.curve_keys`): connections
            are encrypted, and only the clients listed there are accepted. None: plain text.
        max_batch: Most rows that the policy is asked for in one call, if it says as much; 1 asks
            for one request at a time.
        max_message_bytes: A client that announces a larger request is disconnected.
        max_receiving_bytes: Of all requests that are on the way at once; beyond these the client
            that has most of it for longest is disconnected. Not with `keys`.
        max_connections: At once; for a further one the client that loses least by it is
            disconnected. The process's limit of open files is raised for them. Not with `keys`.
        max_connections_per_address: Likewise, from one address: all robots behind one router
            have the same.
        max_queued_requests: Beyond these, requests are answered with an error at once.
        max_queued_bytes: Likewise, for the data that wait with them.
        metrics_port: Serve the metrics to Prometheus on this port of this machine; 0 picks a free
            one, `metrics_port` then tells which. None: do not. Needs prometheus-client.
        metrics_host: The interface for that.
        on_ready: Called once, in the policy's thread, when the policy is there. What it raises is
            logged.
        stop_timeout_s: How long `stop` waits for the requests in progress.
        lanes: What stands behind a policy that may be called from several threads: a `ReplicaPool`
            (`gr00t_policy_core.serving.replicas`), whose `start` is then the policy. The server
            closes it at its end. None: the policy is only ever called in one thread.

    Raises:
        AddressError: The server cannot listen there; another program does already, for example.
        SpecError: A bad setting.
        ImportError: A package that a setting needs is missing.
    """

    def __init__(
        self,
        policy: BasePolicy | Callable[[], BasePolicy],
        host: str = "*",
        port: int = 5555,
        api_token: str | None = None,
        *,
        reply_format: str = "auto",
        serializer: type[MsgSerializer] = MsgSerializer,
        keys: str | Path | None = None,
        max_batch: int = 16,
        max_message_bytes: int = 256 * 2**20,
        max_receiving_bytes: int = 512 * 2**20,
        max_connections: int = 1024,
        max_connections_per_address: int = 256,
        max_queued_requests: int = 64,
        max_queued_bytes: int = 2**30,
        metrics_port: int | None = None,
        metrics_host: str = "127.0.0.1",
        on_ready: Callable[[], None] | None = None,
        stop_timeout_s: float = 5.0,
        lanes: Lanes | None = None,
    ) -> None:
        limits = ConnectionLimits(
            max_message_bytes, max_receiving_bytes, max_connections, max_connections_per_address
        )
        settings.check(api_token, reply_format, max_batch, limits)
        self.policy: BasePolicy | None = None
        self.host = host
        self._keys = None if keys is None else ServerKeys.load(keys)
        self._max_batch = max_batch
        self._stop_timeout_s = stop_timeout_s
        self._endpoints: dict[str, Endpoint] = {}
        self._capabilities: list[str] = []
        self._lanes = lanes or OneLane()
        self._metrics = Metrics()
        self._failures = FailureLog()
        self._run = uuid.uuid4().hex
        self._answering = Answering(
            serializer, reply_format, self._run, self._metrics, self._failures
        )
        self._on_ready = on_ready or (lambda: None)
        self._load: Callable[[], BasePolicy] | None = None
        self._load_error: BaseException | None = None
        makes_one = isinstance(policy, type) or not hasattr(policy, "get_action")
        if callable(policy) and makes_one:
            self._load = policy
        else:
            self._take_policy(cast(BasePolicy, policy))
        self._is_open = api_token is None and self._keys is None and not is_loopback(host)
        self._state = threading.RLock()
        self._begun = False
        self._stopping = False
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._transport = settings.make_transport(
            host,
            port,
            limits,
            keys=self._keys,
            token=api_token is not None,
            refused=self._refused,
            ended=lambda sender: self._reception.forget(sender),
        )
        self._queue = FairQueue(max_queued_requests, max_queued_bytes)
        self._worker = Worker(
            lanes=self._lanes.size,
            prepare=self._prepare,
            turn=self._lanes.turn,
            answer=self._answering.answer,
            joinable=self._answering.joinable,
            deliver=lambda answer: self._reception.send(answer),
            notify=self._answered,
            queue=self._queue,
            max_batch=lambda: self._answering.max_batch,
        )
        self._reception = Reception(
            self._transport,
            self._worker,
            self._answering,
            self._metrics,
            self._failures,
            endpoints=self._endpoints,
            at_once={"ping": self._ping, "metrics": lambda _: self.metrics(), "kill": self._kill},
            token=api_token,
            encrypted=self._keys is not None,
            run=self._run,
            refusal=self._refusal,
        )
        try:
            self._exporter = settings.make_exporter(metrics_host, metrics_port, self.metrics)
        except BaseException:
            self._transport.close()
            raise

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self._transport.port

    @property
    def metrics_port(self) -> int | None:
        """The port that Prometheus reads; None where there is none."""
        return None if self._exporter is None else self._exporter.port

    @property
    def state(self) -> str:
        """``loading``, ``ready``, ``failed`` (the policy could not be loaded) or ``stopping``.

        Where there are replicas it is ``loading``, too, while all of them are being replaced.
        """
        if self._load_error is not None:
            return "failed"
        if self._stopping:
            return "stopping"
        return "ready" if self.policy is not None and self._lanes.ready else "loading"

    def metrics(self) -> dict[str, Any]:
        """What the endpoint ``metrics`` answers; safe in any thread."""
        return {
            "state": self.state,
            **self._metrics.snapshot(),
            "waiting": {"requests": len(self._queue), "bytes": self._queue.waiting_bytes},
            "in_progress": self._worker.in_progress,
            "max_batch": self._answering.max_batch,
            "encrypted": self._keys is not None,
            "open_to_network": self._is_open,
            **self._lanes.status(),
        }

    def register_endpoint(self, name: str, handler: Handler, requires_input: bool = True) -> None:
        """Answer requests for `name` with what `handler` returns.

        Args:
            name: A name in use is taken over.
            handler: Gets the entries of the request's data as keyword arguments where its
                signature takes them, else the data as its one argument. It runs in a thread of
                the policy, never beside another handler; where there are replicas, they may
                compute actions meanwhile. What it raises becomes an error reply.
            requires_input: False: the handler is called without arguments.

        Raises:
            SpecError: No name, or a handler that cannot be called.
        """
        self._endpoints[name] = Endpoint.of(name, handler, requires_input)

    def run(self) -> None:
        """Answer requests until `stop`, or until a client sends ``kill``.

        Raises:
            ClosedError: The server has run already.
            Exception: What making the policy raised.
        """
        self._begin()
        self._serve()
        if self._load_error is not None:
            raise self._load_error

    def start(self) -> PolicyServer:
        """Do what `run` does in a thread of the server's own; returns the server.

        Raises:
            ClosedError: The server has run already.
        """
        self._begin()
        threading.Thread(target=self._serve_alone, name="gr00t-policy-server", daemon=True).start()
        return self

    def stop(self) -> None:
        """Finish the request in progress, refuse the rest, and close everything.

        Safe in any thread, in a handler, in a signal handler, and more than once. Returns when
        the server has ended, or after `stop_timeout_s`; at once in the server's own threads.
        """
        self._stopping = True
        self._transport.wake()
        with self._state:
            if not self._begun:
                self._begun = True
                self._close()
        if threading.current_thread() is not self._thread and not self._worker.is_here():
            self._done.wait(self._stop_timeout_s + 2 * LINGER_S + self._lanes.close_s)

    def restart_replicas(self) -> None:
        """Begin to restart the replicas one by one, without losing a request; returns at once.

        Safe in a signal handler.

        Raises:
            SpecError: There are no replicas.
        """
        self._lanes.restart()

    def __enter__(self) -> PolicyServer:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _refused(self, peer: str, error: Exception) -> None:
        """A connection, before or between requests."""
        self._failures.add("a connection", peer, error)
        self._metrics.error(type(error).__name__)

    def _refusal(self) -> str | None:
        """Why requests are refused; None while they are not."""
        if self._load_error is not None:
            return "the policy could not be loaded; the server's own log says why"
        return STOPPING if self._stopping else None

    def _take_policy(self, policy: BasePolicy) -> None:
        self._capabilities = list(getattr(policy, "get_capabilities", tuple)())
        limits = RequestLimits.of(policy, self._max_batch)
        self._endpoints.update(of_policy(policy, limits.items, self._endpoints))
        max_batch = min(self._max_batch, getattr(policy, "max_batch_size", 1))
        self._answering.take(policy, self._endpoints["get_action"], max_batch, limits)
        self.policy = policy

    def _prepare(self) -> bool:
        """In the policy's thread, before the first request; whether there is a policy."""
        try:
            if self._load is not None:
                self._take_policy(self._load())
                logger.info("the policy is loaded")
        except BaseException as error:
            if self._stopping:
                return False  # which interrupts the loading of replicas
            self._load_error = error
            self._stopping = True
            self._transport.wake()
            return False
        self._tell_ready()
        return True

    def _tell_ready(self) -> None:
        try:
            self._on_ready()
        except BaseException as error:  # not of the policy, which is there
            logger.error("on_ready failed: %s", log_text(error))

    def _begin(self) -> None:
        with self._state:
            if self._begun:
                raise ClosedError("a PolicyServer runs only once; make a new one")
            self._begun = True

    def _serve_alone(self) -> None:
        """In a thread that nobody waits for: what `run` would raise is logged."""
        self._serve()
        if self._load_error is not None:
            logger.error("the policy cannot be loaded: %s", log_text(self._load_error))

    def _serve(self) -> None:
        self._thread = threading.current_thread()
        try:
            self._worker.start()
            self._log_address()
            with self._transport.wake_on_signals():
                while not self._stopping:
                    self._transport.run_once(None, self._reception.accept)
                self._finish()
        finally:
            self._worker.close()
            self._close()

    def _close(self) -> None:
        with contextlib.ExitStack() as ending:  # whatever one of them raises, all of them end
            ending.callback(self._done.set)
            ending.callback(self._lanes.close)
            if self._exporter is not None:
                ending.callback(self._exporter.close)
            ending.callback(self._transport.close)

    def _log_address(self) -> None:
        """Log where the server listens and who may come in, loudly where that is anybody."""
        address = self._transport.address
        encrypted = "encrypted, for listed clients only" if self._keys else "in plain text"
        logger.info("policy server is listening on %s, %s", address, encrypted)
        if self._is_open:
            logger.warning(
                "%s is open to the network without a token: whoever reaches it can drive the "
                "policy; set keys or api_token, or host='127.0.0.1'",
                address,
            )

    def _finish(self) -> None:
        """Wait for the requests in progress; whatever else comes is refused."""
        ends_at = time.monotonic() + self._stop_timeout_s
        for job in self._worker.close():
            self._reception.refuse(job.route, PolicyError(self._refusal() or STOPPING))
        self._lanes.drain()
        if self.policy is None:
            return  # nothing is in progress but the loading, which nobody waits for any more
        while self._worker.busy and (remaining_s := ends_at - time.monotonic()) > 0:
            self._transport.run_once(remaining_s, self._reception.accept)
        if self._worker.busy:
            logger.error(
                "stopping although %s has not returned within %.1f s",
                self._worker.in_progress,
                self._stop_timeout_s,
            )

    def _answered(self) -> None:
        if self._stopping:
            self._transport.wake()  # `_finish` waits for this answer

    def _ping(self, request: Request) -> dict[str, Any]:
        """The reply of Isaac-GR00T's server, and more where there is something to tell."""
        reply: dict[str, Any] = {"status": "ok", "message": "Server is running"}
        # Stock clients get what their own server says; ours tell by the list whose server this is.
        if request.envelope:
            jpeg = [images.CAPABILITY] if images.is_available() else []
            reply["capabilities"] = [*self._capabilities, *jpeg]
            reply["run"] = self._run
        if self.state != "ready":
            reply["state"] = self.state
        return reply

    def _kill(self, request: Request) -> None:
        logger.info("a client asked the server to stop")
        self._stopping = True
        self._transport.wake()
