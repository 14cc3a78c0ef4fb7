# SPDX-License-Identifier: Apache-2.0
"""Replicas of a policy, each in a process of its own, replaced when they die."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from gr00t_policy_core.errors import ClosedError, PolicyError, SpecError
from gr00t_policy_core.policy import BasePolicy, current_client
from gr00t_policy_core.serving.replicas import slot as slots
from gr00t_policy_core.serving.replicas.client_affinity import Call, Places
from gr00t_policy_core.serving.replicas.cluster import LEAVE_S, Cluster
from gr00t_policy_core.serving.replicas.pooled_policy import PooledPolicy
from gr00t_policy_core.serving.replicas.replica import Facts
from gr00t_policy_core.serving.replicas.slot import ReplicaDiedError, Slot

logger = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # before loading is tried again
JOIN_S = 5.0
DRAIN_S = 60.0  # a call that takes longer does not hold up a rolling restart


class ReplicaPool:
    """Replicas of a policy as Ray actors. Give it to a server, which has a lane for each::

        pool = ReplicaPool(load, 4)
        PolicyServer(pool.start, lanes=pool).run()

    A call goes to a replica that is free. Where that dies the call is made once more, by another;
    the dead one is replaced. All methods are thread-safe.

    Args:
        load: Makes the policy. Ray pickles it: a frozen dataclass that says how, or a function of
            a module, is right; the replicas' machines must have that module.
        size: How many replicas.
        address: Of a Ray cluster that this machine is part of; None starts Ray on loopback for
            this process alone, and ends it with it.
        use_gpus: A GPU for each replica, where Ray knows GPUs.

    Raises:
        SpecError: A bad setting.
    """

    def __init__(
        self,
        load: Callable[[], BasePolicy],
        size: int,
        *,
        address: str | None = None,
        use_gpus: bool = False,
    ) -> None:
        if type(size) is not int or size < 1:
            raise SpecError("bad pool", [f"size must be an integer of at least 1, got {size!r}"])
        self.size = size
        self.close_s = JOIN_S + LEAVE_S
        self._load = load
        self._use_gpus = use_gpus
        self._cluster = Cluster(address)
        self._is_local = address is None
        self._slots: list[Slot] = []
        self._keepers: list[threading.Thread] = []
        self._counts: Counter[str] = Counter()
        self._facts: Facts | None = None
        self._calling_all = False
        self._places = Places()
        self._changed = threading.Condition()
        self._mine = threading.local()  # .in_turn, and .slot: what the turn of this thread is with
        self._closing = threading.Event()
        self._draining = False
        self._restarting = threading.Lock()

    def start(self) -> BasePolicy:
        """Start the replicas; returns as the first is ready, with all of them as one policy.

        Raises:
            ImportError: Ray is not installed.
            AddressError: Ray cannot be started or joined.
            SpecError: More replicas than Ray has GPUs.
            PolicyError: No replica could load the policy; the error of the first that told.
            ClosedError: Closed meanwhile.
        """
        ray = self._cluster.join()
        if self._closing.is_set():
            raise ClosedError("the pool is closed")
        self._slots = slots.make(
            ray, self._load, self.size, use_gpus=self._use_gpus, share_cpus=self._is_local
        )
        for slot in self._slots:
            name = f"gr00t-policy-replica-{slot.number}"
            keeper = threading.Thread(target=self._keep, args=(slot,), name=name, daemon=True)
            self._keepers.append(keeper)
            keeper.start()
        with self._changed:
            self._changed.wait_for(lambda: self._facts is not None or self._refusal() is not None)
            if self._facts is None:
                raise self._refusal() or ClosedError("the pool is closed")
        if self.size > 1 and self._keeps_places:
            logger.warning(
                "the policy does not say that its answers are independent of earlier calls "
                "(max_batch_size is 1): each client stays with one replica, and begins anew, "
                "after its last reset, where that is replaced"
            )
        return PooledPolicy(self, self._facts)

    @property
    def ready(self) -> bool:
        """Whether a replica is there to answer."""
        return any(slot.state == slots.READY for slot in self._slots)

    @contextlib.contextmanager
    def turn(self, client: str) -> Iterator[None]:
        """Have a replica to this thread, for a client; waits until one is free."""
        self._mine.in_turn, self._mine.slot = True, self._take(client)
        try:
            yield
        finally:
            self._mine.in_turn = False
            self._release()

    def call(self, method: str, *args: Any) -> Any:
        """What a method of one replica's policy returns; tried twice where replicas die of it.

        Raises:
            PolicyError: It raised; both died; or there is none and will be none.
        """
        client = current_client()
        if getattr(self._mine, "in_turn", False):
            return self._call_twice(client, method, *args)
        with self.turn(client):
            return self._call_twice(client, method, *args)

    def call_all(self, method: str, *args: Any) -> Any:
        """Call a method of every replica that is ready, while none of them does anything else.

        Returns what the last of them returned. One that dies of it is replaced like any other, and
        a replacement gets the last such call of each client before it answers anything.
        """
        client = current_client()
        held: list[Slot] = []
        answers = []
        with self._changed:
            self._changed.wait_for(lambda: not self._calling_all)
            self._calling_all = True
        try:
            for slot in self._slots:
                if self._hold(slot):
                    held.append(slot)
            for slot in held:
                life = slot.lives
                try:
                    answers.append(slot.call(client, method, *args))
                except ReplicaDiedError:
                    self._lose(slot, life)
            if self._keeps_places:
                self._places.remember(client, (method, *args))
        finally:
            with self._changed:
                self._calling_all = False
                for slot in held:
                    slot.busy = False
                self._changed.notify_all()
        if not answers:
            raise self._refusal() or PolicyError("no replica is ready; ping tells when one is")
        return answers[-1]

    def status(self) -> dict[str, Any]:
        """``{"replicas": {"size", "ready", "loading", "restarting", "failed", "deaths",
        "retries", "calls": [of each]}}``."""
        states = Counter(slot.state for slot in self._slots)
        return {
            "replicas": {
                "size": self.size,
                **{state: states[state] for state in slots.STATES},
                "deaths": self._counts["deaths"],
                "retries": self._counts["retries"],
                "calls": [slot.calls for slot in self._slots],
            }
        }

    def restart(self) -> None:
        """Begin to restart the replicas one after the other; returns at once.

        Each finishes the call in progress first; meanwhile the others answer. It ends where a
        replica cannot be loaded again: those that are left go on as they were. A second one while
        the first goes on does nothing. Safe in a signal handler.
        """
        threading.Thread(target=self._restart, name="gr00t-policy-restart", daemon=True).start()

    def drain(self) -> None:
        """Begin no further call but for those that have a replica; the others get an error."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()

    def close(self) -> None:
        """End all replicas, and Ray where it was started here. May be called again."""
        self.drain()
        self._closing.set()
        for slot in self._slots:
            slot.close()
        for keeper in self._keepers:
            keeper.join(JOIN_S)
        self._cluster.leave()

    # --- a thread for each replica ----------------------------------------------------------------

    def _keep(self, slot: Slot) -> None:
        """Load, wait for the end, and again."""
        pause_s = FIRST_PAUSE_S
        while not self._closing.is_set():
            try:
                facts = slot.begin()
                life = self._admit(slot, facts)
            except PolicyError as error:
                slot.kill()
                if not self._closing.is_set():
                    logger.error("replica %d cannot be loaded: %s", slot.number, error)
                self._set(slot, slots.FAILED, error)
                if self._closing.wait(pause_s):
                    return
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                self._set(slot, slots.RESTARTING)
                continue
            pause_s = FIRST_PAUSE_S
            reason = slot.wait_for_its_end()
            if not self._closing.is_set() and not slot.leaving:
                logger.error("replica %d died and is replaced: %s", slot.number, reason)
                self._counts["deaths"] += 1
            self._lose(slot, life)

    def _admit(self, slot: Slot, facts: Facts) -> int:
        """Let it answer, once it is where the last call to all has led; returns which life it is.

        Raises:
            PolicyError: It cannot be led there.
        """
        done: dict[str, Call] = {}
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._calling_all or self._closing.is_set())
                wanted = self._places.calls()
                if all(done.get(client) is call for client, call in wanted.items()):
                    self._facts = self._facts or facts
                    slot.state, slot.problem = slots.READY, None
                    self._changed.notify_all()
                    logger.info("replica %d is ready, in process %d", slot.number, facts.pid)
                    return slot.lives
            for client, call in wanted.items():
                if done.get(client) is not call:
                    slot.call(client, *call)
            done = wanted

    def _set(self, slot: Slot, state: str, problem: PolicyError | None = None) -> None:
        with self._changed:
            slot.state, slot.problem = state, problem
            self._changed.notify_all()

    def _restart(self) -> None:
        if not self._restarting.acquire(blocking=False):
            logger.warning("the replicas are being restarted already")
            return
        try:
            done = bool(self._slots) and all(self._restart_one(slot) for slot in self._slots)
        finally:
            self._restarting.release()
        if done:
            logger.info("all %d replicas have been restarted", self.size)
        elif not self._closing.is_set():
            logger.error("the rolling restart ended before all replicas were restarted")

    def _restart_one(self, slot: Slot) -> bool:
        with self._changed:
            if not self._wait_until_settled(slot):
                return not self._draining  # it is tried again anyhow
            slot.leaving = True
            life = slot.lives
            self._changed.wait_for(lambda: not slot.busy or self._draining, DRAIN_S)
        slot.kill()
        with self._changed:
            self._changed.wait_for(lambda: slot.lives != life or self._draining)
            slot.leaving = False
            self._changed.notify_all()
            return self._wait_until_settled(slot)

    def _wait_until_settled(self, slot: Slot) -> bool:
        """Wait until it is ready; False where that cannot be."""
        settled = (slots.READY, slots.FAILED)
        self._changed.wait_for(lambda: slot.state in settled or self._draining)
        return slot.state == slots.READY and not self._draining

    # --- a replica for each turn ------------------------------------------------------------------

    def _take(self, client: str) -> Slot | None:
        """Wait for a free replica; None where there is none and will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._free_for(client) or self._refusal() is not None)
            free = self._free_for(client)
            if not free or self._draining:
                return None
            slot = min(free, key=lambda slot: (self._places.count(slot), slot.calls))
            slot.busy = True
            if self._keeps_places:
                self._places.settle(client, slot)
            return slot

    def _free_for(self, client: str) -> list[Slot]:
        """Those that are free; where a client's place is kept in one of them, only that one."""
        home, free = self._places.home(client), self._free()
        return free if home is None else [slot for slot in free if slot is home]

    @property
    def _keeps_places(self) -> bool:
        """Whether answers may depend on earlier calls, so that a client stays with a replica."""
        return self._facts is not None and self._facts.max_batch_size == 1

    def _free(self) -> list[Slot]:
        return [s for s in self._slots if s.state == slots.READY and not s.busy and not s.leaving]

    def _refusal(self) -> PolicyError | None:
        """Why nobody is going to answer."""
        if self._draining:
            return ClosedError("the server is stopping")
        if self._slots and all(slot.state == slots.FAILED for slot in self._slots):
            return self._slots[0].problem
        return None

    def _release(self) -> None:
        slot, self._mine.slot = self._mine.slot, None
        if slot is not None:
            self._let_go(slot)

    def _hold(self, slot: Slot) -> bool:
        """Wait until it does nothing; whether it is ready, and this thread's now."""
        with self._changed:
            if not self._changed.wait_for(lambda: not slot.busy or self._draining, DRAIN_S):
                raise PolicyError(f"replica {slot.number} has been busy for {DRAIN_S:.0f} s")
            if slot not in self._free() or self._draining:
                return False
            slot.busy = True
            return True

    def _let_go(self, slot: Slot) -> None:
        with self._changed:
            slot.busy = False
            self._changed.notify_all()

    def _lose(self, slot: Slot, life: int) -> None:
        """A process is gone, which its own thread and one that called it find out independently."""
        with self._changed:
            if slot.lives == life:
                slot.lives += 1
                slot.state = slots.RESTARTING
                self._changed.notify_all()

    def _call_twice(self, client: str, method: str, *args: Any) -> Any:
        for attempt in (1, 2):
            if self._mine.slot is None:
                self._mine.slot = self._take(client)
            slot: Slot | None = self._mine.slot
            if slot is None:
                raise self._refusal() or PolicyError("no replica is there to answer")
            life = slot.lives
            try:
                return slot.call(client, method, *args)
            except ReplicaDiedError:
                self._counts["retries"] += attempt == 1
                self._lose(slot, life)
                self._release()
        raise PolicyError("two replicas died while they answered this request")
