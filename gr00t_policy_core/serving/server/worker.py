# SPDX-License-Identifier: Apache-2.0
"""Takes requests from the queue, has them answered, and sends the replies."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from gr00t_policy_core.serving.server.batch_executor import BatchExecutor
from gr00t_policy_core.serving.server.batch_window import BatchWindow
from gr00t_policy_core.serving.server.execution_backend import ExecutionBackend
from gr00t_policy_core.serving.server.fair_queue import FairQueue
from gr00t_policy_core.serving.server.pending_request import PendingRequest, Reply

logger = logging.getLogger(__name__)

_NO_TURN = contextlib.nullcontext()


class Worker:
    """Answers the requests of a queue; `run` may be called in several threads at once.

    The replies to one client go out in the order of its requests.

    Args:
        queue: The requests that wait; closing it ends `run`.
        executor: Computes the replies to a batch of requests.
        backend: Grants turns to the threads that answer batchable requests.
        send: Sends a reply. It must not raise.
    """

    def __init__(
        self,
        queue: FairQueue,
        executor: BatchExecutor,
        backend: ExecutionBackend,
        send: Callable[[Reply], None],
    ) -> None:
        self._queue = queue
        self._executor = executor
        self._backend = backend
        self._send = send
        self._window = BatchWindow()

    def run(self) -> None:
        """Answer requests until the queue is closed."""
        while (first := self._queue.take()) is not None:
            self._answer(first)
            del first  # it would keep its observation in memory while this thread waits

    def _answer(self, first: PendingRequest) -> None:
        """Answer a request and those that join it; one that fails does not end the thread."""
        batch = [first]
        replies = 0
        started_s = time.monotonic()
        try:
            with self._turn_for(first):
                batch += self._companions_of(first)
                started_s = time.monotonic()
                for reply in self._executor.execute(batch):
                    self._send(reply)
                    replies += 1
        except Exception as error:  # of the backend or the server itself; a policy's is a reply
            logger.exception("%s failed for %d requests", first.endpoint.name, len(batch) - replies)
            if not replies:
                self._fail(batch, error)
        ended_s = time.monotonic()
        self._window.answered(batch, started_s, ended_s)
        self._queue.done(batch, ended_s - started_s)

    def _turn_for(self, request: PendingRequest) -> AbstractContextManager[None]:
        if self._executor.is_batchable(request):
            return self._backend.turn(request.client_id)
        return _NO_TURN

    def _companions_of(self, first: PendingRequest) -> list[PendingRequest]:
        """Further requests to answer in one batch with the first one."""
        limit = self._executor.max_batch - 1
        if limit < 1 or not self._executor.is_batchable(first):
            return []
        self._window.arrived([first])
        expected, until_s = self._window.expected(time.monotonic())
        if expected:
            self._queue.wait_for(expected, limit, until_s)
        others = self._queue.take_more(first, limit, self._executor.is_batchable)
        self._window.arrived(others)
        return others

    def _fail(self, batch: list[PendingRequest], error: Exception) -> None:
        for request in batch:
            self._send(self._executor.fail(request, error))
