# SPDX-License-Identifier: Apache-2.0
"""The threads that answer requests, those that wait together, beside those of the sockets."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from gr00t_policy_core.serving.server.batch_window import Gathering
from gr00t_policy_core.serving.server.fair_queue import FairQueue
from gr00t_policy_core.serving.server.jobs import Answer, Job
from gr00t_policy_core.serving.transport.base import Sender

logger = logging.getLogger(__name__)


class Worker:
    """Answers jobs in threads of its own, one for each lane.

    All methods are safe in any thread. The answers to one client come in the order of its jobs.

    Args:
        lanes: How many.
        prepare: Called in the first lane before any job; False: none is answered. It must not
            raise.
        turn: Held while a joinable job, and those joined with it, are answered.
        answer: Computes encoded replies to jobs, one for each. Where it raises, which it should
            not, their clients get none, and the lane goes on.
        joinable: Whether a job may be answered together with others.
        deliver: Called in a lane with each answer; it must not raise.
        notify: Called in a lane when an answer is delivered and counted.
        queue: Where jobs wait.
        max_batch: How many joinable jobs are handed over together.
    """

    def __init__(
        self,
        *,
        lanes: int,
        prepare: Callable[[], bool],
        turn: Callable[[str], AbstractContextManager[None]],
        answer: Callable[[list[Job]], Iterable[Answer]],
        joinable: Callable[[Job], bool],
        deliver: Callable[[Answer], None],
        notify: Callable[[], None],
        queue: FairQueue,
        max_batch: Callable[[], int],
    ) -> None:
        self._prepare = prepare
        self._turn = turn
        self._answer = answer
        self._joinable = joinable
        self._deliver = deliver
        self._notify = notify
        self._queue = queue
        self._max_batch = max_batch
        self._accepted = 0  # jobs that were or will be answered
        self._counting = threading.Lock()
        self._answered = [0] * lanes  # each written by its own lane only
        self._gathering = Gathering()
        self._prepared = threading.Event()
        self._usable = False
        self._current: list[str | None] = [None] * lanes
        self._threads = [
            threading.Thread(
                target=self._run, args=(lane,), name=f"gr00t-policy-lane-{lane}", daemon=True
            )
            for lane in range(lanes)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def is_here(self) -> bool:
        """Whether this thread is one of its own."""
        return threading.current_thread() in self._threads

    def submit(self, job: Job) -> list[Job]:
        """Queue a job; returns those that are not going to be answered for want of room."""
        self._count(1)
        refused = self._queue.put(job)
        if refused:
            self._count(-len(refused))
        return refused

    def drop(self, sender: Sender) -> list[Job]:
        """Forget the jobs of a connection that has ended; returns those that were not begun."""
        dropped = self._queue.drop(sender)
        self._count(-len(dropped))
        return dropped

    def close(self) -> list[Job]:
        """Let the lanes end after the jobs in progress; returns those that they will not do."""
        dropped = self._queue.close()
        self._count(-len(dropped))
        return dropped

    @property
    def busy(self) -> bool:
        """Whether an answer has still to be delivered."""
        return self._accepted > sum(self._answered)

    @property
    def in_progress(self) -> str | None:
        """The endpoints that are being answered right now; None: none is."""
        return ", ".join(name for name in self._current if name is not None) or None

    def _count(self, jobs: int) -> None:
        with self._counting:
            self._accepted += jobs

    def _run(self, lane: int) -> None:
        if lane == 0:
            self._usable = self._prepare()
            self._prepared.set()
        self._prepared.wait()
        if not self._usable:
            return  # `close` hands back what waits
        while (first := self._queue.take()) is not None:
            if self._joinable(first):
                with self._turn(first.asker):
                    self._do(lane, first, self._company(first))
            else:
                self._do(lane, first, [])
            del first  # or its observation would keep its memory from the next ones

    def _company(self, first: Job) -> list[Job]:
        """What is to be answered together with a job."""
        most = self._max_batch()
        if most < 2:
            return []
        self._gathering.came([first])
        expected, until_s = self._gathering.expected(time.monotonic())
        if expected:
            self._queue.wait_for(expected, most - 1, until_s)
        others = self._queue.take_more(first, most - 1, self._joinable)
        self._gathering.came(others)
        return others

    def _do(self, lane: int, first: Job, others: list[Job]) -> None:
        started_s = time.monotonic()
        jobs = [first, *others]
        self._current[lane] = first.endpoint.name
        left = len(jobs)
        try:
            for answer in self._answer(jobs):
                self._deliver(answer)
                left -= 1
                self._answered[lane] += 1
                self._notify()
        except Exception:  # a fault of ours, which must not cost everybody else the server
            logger.exception("%d requests for %s get no answer", left, first.endpoint.name)
            self._answered[lane] += left
        ended_s = time.monotonic()
        self._gathering.answered(jobs, started_s, ended_s)
        self._queue.done(jobs, ended_s - started_s)
        self._current[lane] = None
