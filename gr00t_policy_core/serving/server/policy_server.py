# SPDX-License-Identifier: Apache-2.0
"""A policy on the network, for clients of this package and of both lines of Isaac-GR00T."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gr00t_policy_core.errors import ClosedError, PolicyError
from gr00t_policy_core.policy import BasePolicy
from gr00t_policy_core.serving.server.batch_executor import BatchExecutor
from gr00t_policy_core.serving.server.codec import RequestCodec
from gr00t_policy_core.serving.server.connection_events import ConnectionEvents
from gr00t_policy_core.serving.server.control_endpoints import ControlEndpoints
from gr00t_policy_core.serving.server.dispatcher import Dispatcher, ReplySender
from gr00t_policy_core.serving.server.endpoints import Endpoint, EndpointTable, Handler
from gr00t_policy_core.serving.server.execution_backend import ExecutionBackend, InProcessBackend
from gr00t_policy_core.serving.server.failure_log import FailureLog
from gr00t_policy_core.serving.server.fair_queue import FairQueue
from gr00t_policy_core.serving.server.lifecycle import Lifecycle
from gr00t_policy_core.serving.server.metrics import Metrics
from gr00t_policy_core.serving.server.policy_source import PolicySource
from gr00t_policy_core.serving.server.ports import export_metrics, listen
from gr00t_policy_core.serving.server.settings import ServerSettings
from gr00t_policy_core.serving.server.worker import Worker
from gr00t_policy_core.serving.transport.base import LINGER_S
from gr00t_policy_core.serving.wire.envelope import STOPPING_ERROR
from gr00t_policy_core.serving.wire.error_text import log_text
from gr00t_policy_core.serving.wire.serializer import MsgSerializer

logger = logging.getLogger(__name__)


class PolicyServer:
    """Serves a policy to many clients.

    The constructor binds the address; `run` or `start` begins to answer. Requests for ``ping``,
    ``metrics`` and ``kill`` are answered at once. All others wait in a queue, in which clients take
    turns and each client's requests stay in order. A thread of the policy answers them, several
    threads where a `backend` computes several calls at once. Requests for actions that wait at the
    same time are answered in one call where the policy allows it (`BasePolicy.max_batch_size`).

    Args:
        policy: Answers ``get_action``, ``reset``, ``get_modality_config`` and ``get_dimensions``.
            Or a function that makes the policy: the policy's thread calls it, and until it returns
            the state of the server is ``loading``.
        host: ``"*"`` for every interface, the address or the name of one, or ``"ipc:///path"``, a
            Unix socket for the clients of this machine that may open its file.
        port: The TCP port; 0 picks a free one, which the property `port` tells. Not used with a
            Unix socket.
        api_token: The token that every request must carry; None accepts requests without one.
        reply_format: ``"auto"`` answers each client in the form that it understands
            (`gr00t_policy_core.serving.wire.envelope` describes both); ``"envelope"`` or
            ``"bare"`` answers every client in that form.
        serializer: Converts between bytes and objects; a subclass adds classes of your own.
        keys: Folder of CURVE keys (`gr00t_policy_core.serving.transport.curve_keys`): connections
            are encrypted, and only listed clients are accepted. None: plain text.
        max_batch: The most rows (B) of one call of the policy, which may allow fewer; 1 never
            joins requests.
        max_message_bytes: A client that announces a larger request is disconnected.
        max_receiving_bytes: Limits all requests that are being received together; beyond it the
            server disconnects the client that has had most of it for longest. Not with `keys`.
        max_connections: Beyond so many connections the server disconnects the client that loses
            least by it. The limit of open files of the process is raised to fit. Not with `keys`.
        max_connections_per_address: The same for the connections from one address; all robots
            behind one router share one.
        max_queued_requests: So many requests wait at most. Beyond it the newest request of the
            address with most, and there of the client with most, is answered with an error at
            once; that may be the one that comes.
        max_queued_bytes: The same for the bytes of the requests that wait.
        metrics_port: Serve the metrics to Prometheus on this port; 0 picks a free one, which the
            property `metrics_port` tells. None serves none. Needs prometheus-client.
        metrics_host: The interface that `metrics_port` belongs to.
        on_ready: Called once, in the policy's thread, when the policy is loaded. An exception in
            it is logged.
        stop_timeout_s: How long `stop` waits for the requests in progress.
        backend: Where the policy runs, for example a `ReplicaPool`
            (`gr00t_policy_core.serving.replicas`), whose `start` is then the policy. The server
            closes it in the end. None: in this process, one call at a time, always in one thread.

    Raises:
        AddressError: The server cannot listen there, because another program does, for example.
        SpecError: A setting is invalid.
        ImportError: A package that a setting needs is not installed.
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
        backend: ExecutionBackend | None = None,
    ) -> None:
        self._settings = ServerSettings(
            host=host,
            port=port,
            api_token=api_token,
            reply_format=reply_format,
            serializer=serializer,
            keys=keys,
            max_batch=max_batch,
            max_message_bytes=max_message_bytes,
            max_receiving_bytes=max_receiving_bytes,
            max_connections=max_connections,
            max_connections_per_address=max_connections_per_address,
            max_queued_requests=max_queued_requests,
            max_queued_bytes=max_queued_bytes,
            stop_timeout_s=stop_timeout_s,
        )
        self._backend = InProcessBackend() if backend is None else backend
        self._metrics = Metrics()
        self._failures = FailureLog(self._metrics)
        self._lifecycle = Lifecycle(self._backend)
        self._codec = RequestCodec(serializer, reply_format, self._lifecycle.run)
        self._endpoints = EndpointTable()
        self._source = PolicySource(
            policy, self._endpoints, self._lifecycle, max_batch=max_batch, on_ready=on_ready
        )
        self._queue = FairQueue(max_queued_requests, max_queued_bytes)
        self._transport = listen(self._settings, ConnectionEvents(self._queue, self._failures))
        self._replies = ReplySender(self._transport, self._metrics)
        self._control = ControlEndpoints(
            self._settings,
            self._lifecycle,
            self._queue,
            self._backend,
            self._metrics,
            self._transport,
        )
        self._dispatcher = Dispatcher(
            api_token=api_token,
            lifecycle=self._lifecycle,
            endpoints=self._endpoints,
            control=self._control,
            queue=self._queue,
            codec=self._codec,
            replies=self._replies,
            metrics=self._metrics,
            failures=self._failures,
        )
        try:
            self._exporter = (
                None
                if metrics_port is None
                else export_metrics(metrics_host, metrics_port, self._control.report)
            )
        except BaseException:
            self._transport.close()
            raise
        self.host = host
        self._begin_lock = threading.RLock()  # a signal handler may stop the server in `_begin`
        self._begun = False
        self._ended = threading.Event()
        self._own_threads: set[threading.Thread] = set()

    @property
    def policy(self) -> BasePolicy | None:
        """The policy; None until it is loaded."""
        served = self._lifecycle.served
        return None if served is None else served.policy

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self._transport.port

    @property
    def metrics_port(self) -> int | None:
        """The port that Prometheus reads; None if there is none."""
        return None if self._exporter is None else self._exporter.port

    @property
    def state(self) -> str:
        """``loading``, ``ready``, ``failed`` (the policy could not be loaded) or ``stopping``.

        With replicas, also ``loading`` while none of them is ready.
        """
        return self._lifecycle.state

    def metrics(self) -> dict[str, Any]:
        """Return the reply of the endpoint ``metrics``. Safe in any thread.

        docs/how-to/serve-many-robots.md lists the entries.
        """
        return self._control.report()

    def register_endpoint(self, name: str, handler: Handler, requires_input: bool = True) -> None:
        """Answer requests for `name` with what `handler` returns.

        Args:
            name: The name in requests. An endpoint of the same name is replaced.
            handler: Gets the entries of the request's data as keyword arguments where its
                signature takes them, else the data as its only argument. It runs in a thread of
                the policy, never at the same time as another handler; replicas may compute actions
                at the same time. An exception in it becomes an error reply.
            requires_input: Whether the handler takes the data; if not, it is called without
                arguments.

        Raises:
            SpecError: `name` is not a non-empty str, or `handler` is not callable.
        """
        self._endpoints.register(Endpoint.of(name, handler, requires_input))

    def run(self) -> None:
        """Answer requests until `stop` is called or a client sends ``kill``.

        Raises:
            ClosedError: The server has run already.
            Exception: What the function that makes the policy raised.
        """
        self._begin()
        self._serve()
        if (error := self._lifecycle.load_error) is not None:
            raise error

    def start(self) -> PolicyServer:
        """Do what `run` does in a thread of the server's own; returns the server.

        Raises:
            ClosedError: The server has run already.
        """
        self._begin()
        threading.Thread(target=self._serve_alone, name="gr00t-policy-server", daemon=True).start()
        return self

    def stop(self) -> None:
        """Finish the requests in progress, refuse the others, and close everything.

        Safe in any thread, in a handler, in a signal handler, and more than once. Returns when
        the server has ended, or after `stop_timeout_s`; at once in the server's own threads.
        """
        self._lifecycle.stop()
        self._transport.wake()
        with self._begin_lock:
            if not self._begun:
                self._begun = True
                self._close()
        if threading.current_thread() not in self._own_threads:
            timeout_s = self._settings.stop_timeout_s + 2 * LINGER_S + self._backend.close_s
            self._ended.wait(timeout_s)

    def restart_replicas(self) -> None:
        """Begin to restart the replicas one by one, without losing a request; returns at once.

        Safe in a signal handler.

        Raises:
            SpecError: There are no replicas.
        """
        self._backend.restart()

    def __enter__(self) -> PolicyServer:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    # --- the thread of the sockets ----------------------------------------------------------------

    def _begin(self) -> None:
        with self._begin_lock:
            if self._begun:
                raise ClosedError("a PolicyServer runs only once; make a new one")
            self._begun = True

    def _serve_alone(self) -> None:
        """Serve in a thread, and log the exceptions that `run` would raise."""
        self._serve()
        if (error := self._lifecycle.load_error) is not None:
            logger.error("the policy cannot be loaded: %s", log_text(error))

    def _serve(self) -> None:
        self._own_threads.add(threading.current_thread())
        try:
            self._start_policy_thread(0, self._run_policy)
            self._log_address()
            with self._transport.wake_on_signals():
                while not self._lifecycle.is_stopping:
                    self._transport.run_once(None, self._dispatcher.dispatch)
                self._finish()
        finally:
            self._queue.close()
            self._close()

    def _log_address(self) -> None:
        address = self._transport.address
        encrypted = self._settings.is_encrypted
        security = "encrypted, for listed clients only" if encrypted else "in plain text"
        logger.info("policy server is listening on %s, %s", address, security)
        if self._settings.is_open_to_network:
            logger.warning(
                "%s is open to the network without a token: whoever reaches it can drive the "
                "policy; set keys or api_token, or host='127.0.0.1'",
                address,
            )

    def _finish(self) -> None:
        """Refuse the requests that wait and those that still arrive; finish those in progress."""
        ends_s = time.monotonic() + self._settings.stop_timeout_s
        for request in self._queue.close():
            error = PolicyError(self._lifecycle.refusal or STOPPING_ERROR)
            self._metrics.error(type(error).__name__, request.connection)
            self._replies.send_error(request.route, error)
        self._backend.drain()
        while self._queue.in_progress and (left_s := ends_s - time.monotonic()) > 0:
            self._transport.run_once(left_s, self._dispatcher.dispatch)
        if unfinished := self._queue.in_progress:
            logger.error(
                "stopping although %s has not returned within %.1f s",
                ", ".join(unfinished),
                self._settings.stop_timeout_s,
            )

    def _close(self) -> None:
        with contextlib.ExitStack() as closing:  # each is closed even if another one raises
            closing.callback(self._ended.set)
            closing.callback(self._backend.close)
            if self._exporter is not None:
                closing.callback(self._exporter.close)
            closing.callback(self._transport.close)

    # --- the threads of the policy ----------------------------------------------------------------

    def _start_policy_thread(self, number: int, target: Callable[..., None], *args: Any) -> None:
        name = f"gr00t-policy-{number}"
        thread = threading.Thread(target=target, args=args, name=name, daemon=True)
        self._own_threads.add(thread)
        thread.start()

    def _run_policy(self) -> None:
        """Load the policy, then answer requests in this thread and `backend.size - 1` others."""
        served = self._source.load()
        if served is None:
            self._transport.wake()  # the server ends
            return
        executor = BatchExecutor(served, self._codec, self._metrics, self._failures)
        worker = Worker(self._queue, executor, self._backend, self._replies.send)
        for number in range(1, self._backend.size):
            self._start_policy_thread(number, self._run_worker, worker)
        self._run_worker(worker)

    def _run_worker(self, worker: Worker) -> None:
        worker.run()
        self._transport.wake()  # `_finish` waits for the requests that were in progress
