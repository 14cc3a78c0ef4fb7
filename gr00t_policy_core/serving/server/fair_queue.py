# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for the policy: clients take turns, however much one of them asks."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from itertools import chain, zip_longest
from queue import SimpleQueue

from gr00t_policy_core.serving.server.jobs import Client, Job
from gr00t_policy_core.serving.server.patience import Patience
from gr00t_policy_core.serving.transport.base import Sender

FORGETTING = 0.9  # of how long the longest answer took, with each further one


class FairQueue:
    """Jobs that wait for their turn. Thread-safe.

    Addresses take turns, the clients of each address take its turns, and each client's jobs are in
    order. So many connections of one machine get no more than its share, robots behind one address
    share alike, and who connects anew is not served sooner. A job whose client is not likely to
    wait for its answer (`Patience`) lets the others pass. A client's next job is handed out when
    those before it are `done`, or with them.

    Args:
        max_jobs: How many may wait in all.
        max_bytes: How much data may wait in all. A single job may be larger than that.
    """

    def __init__(self, max_jobs: int, max_bytes: int) -> None:
        self._max_jobs = max_jobs
        self._max_bytes = max_bytes
        # By address and client, both in the order of their turns.
        self._waiting: OrderedDict[str, OrderedDict[Client, deque[Job]]] = OrderedDict()
        self._begun: dict[Client, list[Job]] = {}  # taken and not done
        self._jobs = 0
        self._bytes = 0
        self._patience = Patience()
        self._took_s: dict[str, float] = {}  # the longest of the last answers, by endpoint
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

        An address with fewer jobs than another takes the place of one of the other's, and so does
        a client within its address, so that nobody who asks often shuts the others out. Where that
        makes no room it is the new job that goes.
        """
        gone: list[Job] = []
        client = job.asked_by
        with self._lock:
            if self._idle and client not in self._begun:  # then none of its jobs waits
                self._begun[client] = [job]
                self._idle.popleft().put(job)
                self._came.notify_all()
                return gone
            while self._is_full_for(job) and (worst := self._gives_way_to(client)) is not None:
                gone.append(worst)
                self._remove(worst)
            if self._closed or self._is_full_for(job):
                gone.append(job)
                return gone
            clients = self._waiting.setdefault(client.address, OrderedDict())
            clients.setdefault(client, deque()).append(job)
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
            mine = {first.asked_by}
            clients = deque(self._in_turn())
            while clients and len(taken) < limit:
                client = clients.popleft()
                job = self._waiting[client.address][client][0]
                elsewhere = client in self._begun and client not in mine
                if elsewhere or not wanted(job):
                    continue
                taken.append(self._begin(job))
                mine.add(client)
                if client in self._waiting.get(client.address, ()):
                    clients.append(client)
        return taken

    def done(self, jobs: Collection[Job], took_s: float) -> None:
        """Their answers are on their way: the next ones of their clients may be taken.

        Args:
            jobs: Answered together.
            took_s: How long that took.
        """
        with self._lock:
            for job in jobs:
                name = job.endpoint.name
                self._took_s[name] = max(took_s, FORGETTING * self._took_s.get(name, 0.0))
                begun = self._begun[job.asked_by]
                if len(begun) > 1:
                    begun.remove(job)
                else:
                    del self._begun[job.asked_by]
            self._hand_out()

    def drop(self, sender: Sender) -> list[Job]:
        """Take the jobs of a connection that has ended out; returns those that waited."""
        with self._lock:
            waiting = [job for job in self._all_waiting() if job.message.sender is sender]
            begun = [job for job in chain(*self._begun.values()) if job.message.sender is sender]
            for job in waiting:
                self._remove(job)
            if waiting or begun:
                received_s = min(job.received_s for job in [*waiting, *begun])
                self._patience.left(sender.address, time.monotonic() - received_s)
        return waiting

    def wait_for(self, clients: Collection[bytes], enough: int, until_s: float) -> None:
        """Wait for a job of each connection, or for `enough` jobs, or for a time.

        Args:
            clients: Names of connections.
            enough: So many jobs.
            until_s: In `time.monotonic`.
        """
        with self._lock:
            self._came.wait_for(
                lambda: self._closed or self._jobs >= enough or self._has_all(clients),
                until_s - time.monotonic(),
            )

    def close(self) -> list[Job]:
        """Take no more; returns those that wait."""
        with self._lock:
            self._closed = True
            left = self._all_waiting()
            self._waiting.clear()
            self._jobs = self._bytes = 0
            self._came.notify_all()
            for hands in self._idle:
                hands.put(None)
            self._idle.clear()
        return left

    def _hand_out(self) -> None:
        """Give jobs to the threads that wait for one, as long as there are both."""
        while self._jobs and self._idle and (job := self._next()) is not None:
            self._idle.popleft().put(self._begin(job))

    def _next(self) -> Job | None:
        """The first job that may be taken, of those whose clients are likely to wait for it."""
        firsts = [
            self._waiting[client.address][client][0]
            for client in self._in_turn()
            if client not in self._begun
        ]
        now_s = time.monotonic()
        for job in firsts:
            answer_s = self._took_s.get(job.endpoint.name, 0.0)
            if self._patience.lasts(job.asked_by.address, now_s - job.received_s, answer_s):
                return job
        return firsts[0] if firsts else None

    def _in_turn(self) -> list[Client]:
        """All clients whose jobs wait: the first of each address, then the second of each, …"""
        rounds = zip_longest(*self._waiting.values())
        return [client for clients in rounds for client in clients if client is not None]

    def _all_waiting(self) -> list[Job]:
        return [
            job for clients in self._waiting.values() for jobs in clients.values() for job in jobs
        ]

    def _has_all(self, connections: Collection[bytes]) -> bool:
        begun = chain(*self._begun.values())  # with another thread, maybe
        return {job.client for job in chain(self._all_waiting(), begun)} >= set(connections)

    def _is_full_for(self, job: Job) -> bool:
        if self._jobs >= self._max_jobs:
            return True
        return self._jobs > 0 and self._bytes + job.size > self._max_bytes

    def _gives_way_to(self, client: Client) -> Job | None:
        """The job that should go for another one of this client, where there is one."""
        waits = {
            address: sum(map(len, clients.values())) for address, clients in self._waiting.items()
        }
        greedy = max(waits, key=lambda address: waits[address], default=client.address)
        if waits.get(greedy, 0) > waits.get(client.address, 0) + 1:
            return _last_of_the_longest(self._waiting[greedy])
        clients = self._waiting.get(client.address)
        if clients is None:
            return None
        last = _last_of_the_longest(clients)
        gives_way = len(clients[last.asked_by]) > len(clients.get(client, ())) + 1
        return last if gives_way else None

    def _begin(self, job: Job) -> Job:
        """Take a client's first job; its next turn comes after those of all others."""
        client = job.asked_by
        self._waiting[client.address].move_to_end(client)
        self._waiting.move_to_end(client.address)
        self._remove(job)
        self._begun.setdefault(client, []).append(job)
        return job

    def _remove(self, job: Job) -> None:
        client = job.asked_by
        clients = self._waiting[client.address]
        clients[client].remove(job)
        self._jobs -= 1
        self._bytes -= job.size
        if not clients[client]:
            del clients[client]
        if not clients:
            del self._waiting[client.address]


def _last_of_the_longest(clients: OrderedDict[Client, deque[Job]]) -> Job:
    """The last job of the client that has most; of several the one whose turn comes last."""
    return max(reversed(clients.values()), key=len)[-1]
