# SPDX-License-Identifier: Apache-2.0
"""One thread that answers requests, those that wait together, beside the thread of the sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from gr00t_policy_core.serving.jobs import Answer, Job
from gr00t_policy_core.serving.queue import FairQueue

# After requests were answered together their clients ask again at about the same time. The first
# of them would else be answered alone, and the others wait for it. Measured with 16 clients and a
# policy of 40 ms (100 ms for 16 rows; 2 cores): without this 109 answers/s, p99 154 ms; with it
# 133 answers/s, p99 124 ms. A server that has been idle for longer waits for nobody.
GATHER_SHARE = 0.2  # of what the last answers took, at most
GATHER_S = 0.02  # and never longer


class Worker:
    """Answers jobs in a thread of its own.

    All methods are for one other thread, the one that submits.

    Args:
        prepare: Called in the worker's thread before the first job; it must not raise.
        answer: Computes encoded replies to jobs, one for each; it must not raise.
        joinable: Whether a job may be answered together with others.
        deliver: Called in the worker's thread with each answer; it must not raise.
        notify: Called in the worker's thread when an answer is delivered and counted.
        queue: Where jobs wait.
        max_batch: How many joinable jobs are handed over together.
    """

    def __init__(
        self,
        *,
        prepare: Callable[[], None],
        answer: Callable[[list[Job]], Iterable[Answer]],
        joinable: Callable[[Job], bool],
        deliver: Callable[[Answer], None],
        notify: Callable[[], None],
        queue: FairQueue,
        max_batch: Callable[[], int],
    ) -> None:
        self._prepare = prepare
        self._answer = answer
        self._joinable = joinable
        self._deliver = deliver
        self._notify = notify
        self._queue = queue
        self._max_batch = max_batch
        self._accepted = 0  # jobs that were or will be answered
        self._answered = 0  # written by the worker's thread only
        self._current: str | None = None
        self._thread = threading.Thread(target=self._run, name="gr00t-policy-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, job: Job) -> list[Job]:
        """Queue a job; returns those that are not going to be answered for want of room."""
        self._accepted += 1
        refused = self._queue.put(job)
        self._accepted -= len(refused)
        return refused

    def close(self) -> list[Job]:
        """Let the thread end after the jobs in progress; returns those that it will not do."""
        dropped = self._queue.close()
        self._accepted -= len(dropped)
        return dropped

    @property
    def busy(self) -> bool:
        """Whether an answer has still to be delivered."""
        return self._accepted > self._answered

    @property
    def in_progress(self) -> str | None:
        """The endpoint that is being answered right now."""
        return self._current

    def _run(self) -> None:
        self._prepare()
        last, waiting, took_s = 1, 0, 0.0
        while (first := self._queue.take()) is not None:
            started_s = time.monotonic()
            jobs = [first]
            if self._joinable(first) and (most := self._max_batch()) > 1:
                if last > 1:
                    self._gather(min(last + waiting, most), took_s)
                    started_s = time.monotonic()
                jobs += self._queue.take_more(most - 1, self._joinable)
            self._current = first.endpoint.name
            for answer in self._answer(jobs):
                self._deliver(answer)
                self._answered += 1
                self._notify()
            last, waiting, took_s = len(jobs), len(self._queue), time.monotonic() - started_s
            self._ended_s = started_s + took_s
            # Or these observations would keep their memory from the next ones.
            del first, jobs, answer
            self._current = None

    def _gather(self, count: int, took_s: float) -> None:
        """Let clients that were just answered together come back together."""
        until_s = self._ended_s + min(GATHER_SHARE * took_s, GATHER_S)
        self._queue.wait_for(count - 1, until_s)
