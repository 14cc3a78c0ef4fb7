# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for the policy: clients take turns, however much one of them asks."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from queue import SimpleQueue

from gr00t_policy_core.serving.jobs import Job


class FairQueue:
    """Jobs by client; each client's are in order, and the clients take turns. Thread-safe.

    A client's next job is handed out when those before it are `done`, or with them.

    Args:
        max_jobs: How many may wait in all.
        max_bytes: How much data may wait in all. A single job may be larger than that.
    """

    def __init__(self, max_jobs: int, max_bytes: int) -> None:
        self._max_jobs = max_jobs
        self._max_bytes = max_bytes
        self._by_client: OrderedDict[bytes, deque[Job]] = OrderedDict()  # whose turn it is first
        self._in_progress: dict[bytes, int] = {}  # jobs taken and not done, by client
        self._jobs = 0
        self._bytes = 0
        self._closed = False
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)  # another job, or the end
        # Of threads that found no job: each gets the next one into its hands (measured, from
        # putting a job to having it: 20 µs; woken by a condition, to look for it, 36).
        self._idle: deque[SimpleQueue[Job | None]] = deque()

    def __len__(self) -> int:
        return self._jobs

    @property
    def waiting_bytes(self) -> int:
        """How much data waits."""
        return self._bytes

    def put(self, job: Job) -> list[Job]:
        """Add a job; returns those that must go for want of room.

        A client with fewer jobs than another takes the place of the other's last one, so that
        nobody who asks often shuts the others out. Where that makes no room it is the new job
        that goes.
        """
        gone: list[Job] = []
        client = job.client
        with self._lock:
            if self._idle and client not in self._in_progress:  # then none of its jobs waits
                self._in_progress[client] = 1
                self._idle.popleft().put(job)
                self._came.notify_all()
                return gone
            while self._is_full_for(job) and self._gives_way(client):
                gone.append(self._drop_last_of_the_longest())
            if self._closed or self._is_full_for(job):
                gone.append(job)
                return gone
            self._by_client.setdefault(client, deque()).append(job)
            self._jobs += 1
            self._bytes += job.size
            self._came.notify_all()
        return gone

    def take(self) -> Job | None:
        """Wait for the next job, and take it; None once the queue is closed."""
        with self._lock:
            if self._closed:
                return None
            hands: SimpleQueue[Job | None] = SimpleQueue()
            self._idle.append(hands)
            self._hand_out()
        return hands.get()

    def take_more(self, first: Job, limit: int, wanted: Callable[[Job], bool]) -> list[Job]:
        """Take up to `limit` more that are there already, in turns, to be done with `first`.

        A client's later jobs never pass an earlier one that is not wanted.
        """
        taken: list[Job] = []
        with self._lock:
            mine = {first.client}
            clients = deque(self._by_client)
            while clients and len(taken) < limit:
                client = clients.popleft()
                elsewhere = client in self._in_progress and client not in mine
                if elsewhere or not wanted(self._by_client[client][0]):
                    continue
                taken.append(self._take_from(client))
                mine.add(client)
                if client in self._by_client:
                    clients.append(client)
        return taken

    def done(self, jobs: Collection[Job]) -> None:
        """Their answers are on their way: the next ones of their clients may be taken."""
        with self._lock:
            for job in jobs:
                left = self._in_progress.pop(job.client) - 1
                if left:
                    self._in_progress[job.client] = left
            self._hand_out()

    def wait_for(self, clients: Collection[bytes], enough: int, until_s: float) -> None:
        """Wait for a job of each client, for `enough` jobs, or for `until_s` (`time.monotonic`)."""
        with self._lock:
            self._came.wait_for(
                lambda: self._closed or self._jobs >= enough or self._has_all(clients),
                until_s - time.monotonic(),
            )

    def close(self) -> list[Job]:
        """Take no more; returns those that wait."""
        with self._lock:
            self._closed = True
            left = [job for jobs in self._by_client.values() for job in jobs]
            self._by_client.clear()
            self._jobs = self._bytes = 0
            self._came.notify_all()
            for hands in self._idle:
                hands.put(None)
            self._idle.clear()
        return left

    def _hand_out(self) -> None:
        """Give jobs to the threads that wait for one, as long as there are both."""
        while self._idle and (client := self._next_client()) is not None:
            self._idle.popleft().put(self._take_from(client))

    def _next_client(self) -> bytes | None:
        for client in self._by_client:
            if client not in self._in_progress:
                return client
        return None

    def _has_all(self, clients: Collection[bytes]) -> bool:
        there = self._by_client.keys() | self._in_progress.keys()  # with another thread, maybe
        return there >= set(clients)

    def _is_full_for(self, job: Job) -> bool:
        if self._jobs >= self._max_jobs:
            return True
        return self._jobs > 0 and self._bytes + job.size > self._max_bytes

    def _gives_way(self, client: bytes) -> bool:
        """Whether another client has so many jobs that one of its own should go for this one."""
        own = len(self._by_client.get(client, ()))
        return max(map(len, self._by_client.values()), default=0) > own + 1

    def _drop_last_of_the_longest(self) -> Job:
        client = max(self._by_client, key=lambda client: len(self._by_client[client]))
        job = self._by_client[client].pop()
        self._forget(job)
        return job

    def _take_from(self, client: bytes) -> Job:
        job = self._by_client[client].popleft()
        self._by_client.move_to_end(client)
        self._in_progress[client] = self._in_progress.get(client, 0) + 1
        self._forget(job)
        return job

    def _forget(self, job: Job) -> None:
        self._jobs -= 1
        self._bytes -= job.size
        if not self._by_client[job.client]:
            del self._by_client[job.client]
