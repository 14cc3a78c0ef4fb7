# SPDX-License-Identifier: Apache-2.0
"""One thread that answers requests one at a time, in order, beside the thread of the sockets."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gr00t_policy_core.serving.endpoints import Endpoint
from gr00t_policy_core.serving.messages import Request


@dataclass(frozen=True, slots=True)
class Job:
    """A request that a handler is to answer.

    Args:
        route: The frames that lead the reply back to its client; the first is the client's own.
        request: The request, its data still encoded.
        endpoint: Who answers it.
        peer: Where it came from, for the log.
    """

    route: list[bytes]
    request: Request
    endpoint: Endpoint
    peer: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An encoded reply and the way to its client."""

    route: list[bytes]
    reply: bytes


class Worker:
    """Answers jobs in a thread of its own.

    All methods are for one other thread, the one that submits and collects.

    Args:
        answer: Computes an encoded reply; it must not raise.
        notify: Called in the worker's thread whenever there is something to collect.
        limit: How many jobs may wait.
    """

    def __init__(
        self, answer: Callable[[Job], bytes], notify: Callable[[], None], limit: int
    ) -> None:
        self._answer = answer
        self._notify = notify
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._limit = limit
        self._answers: deque[Answer] = deque()
        self._outstanding = 0
        self._current: Job | None = None
        self._thread = threading.Thread(target=self._run, name="gr00t-policy-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, job: Job) -> bool:
        """Queue a job; False where too many wait already."""
        if self._jobs.qsize() >= self._limit:
            return False
        self._outstanding += 1
        self._jobs.put(job)
        return True

    def collect(self) -> list[Answer]:
        """The answers that are ready."""
        ready = []
        while self._answers:
            ready.append(self._answers.popleft())
        self._outstanding -= len(ready)
        return ready

    def close(self) -> list[Job]:
        """Let the thread end after the job in progress; returns those that it will not do."""
        dropped = []
        while not self._jobs.empty():
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is not None:
                dropped.append(job)
        self._outstanding -= len(dropped)
        self._jobs.put(None)
        return dropped

    @property
    def busy(self) -> bool:
        """Whether an answer has still to be collected."""
        return self._outstanding > 0

    @property
    def in_progress(self) -> str | None:
        """The endpoint that is being answered right now."""
        job = self._current
        return None if job is None else job.endpoint.name

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._current = job
            answer = Answer(job.route, self._answer(job))
            # Or this observation would keep its memory from the next one.
            self._current = job = None
            self._answers.append(answer)
            self._notify()
