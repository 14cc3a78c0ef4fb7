# SPDX-License-Identifier: Apache-2.0
"""Keeps the replicas of a pool running: loads them, replaces those that end, restarts them."""

from __future__ import annotations

import logging
import threading

from gr00t_policy_core.errors import PolicyError
from gr00t_policy_core.serving.replicas.client_affinity import Call
from gr00t_policy_core.serving.replicas.replica import PolicyDescription
from gr00t_policy_core.serving.replicas.replica_set import ReplicaSet
from gr00t_policy_core.serving.replicas.replica_slot import FAILED, RESTARTING, ReplicaSlot

logger = logging.getLogger(__name__)

FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0  # pauses before loading is tried again
JOIN_S = 5.0


class Supervisor:
    """Watches over replicas, in a thread for each.

    Args:
        replicas: The replicas to keep running.
    """

    def __init__(self, replicas: ReplicaSet) -> None:
        self._replicas = replicas
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._restart_lock = threading.Lock()

    @property
    def is_closing(self) -> bool:
        """Whether replicas are not replaced any more."""
        return self._closing.is_set()

    def start(self) -> None:
        """Begin to load all replicas; returns at once."""
        for slot in self._replicas:
            name = f"gr00t-policy-replica-{slot.number}"
            thread = threading.Thread(target=self._supervise, args=(slot,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def restart(self) -> None:
        """Begin to restart the replicas one after the other; returns at once."""
        threading.Thread(target=self._restart_all, name="gr00t-policy-restart", daemon=True).start()

    def close(self) -> None:
        """End all replicas, and replace them no more. May be called again."""
        self._closing.set()
        for slot in self._replicas:
            slot.close()
        for thread in self._threads:
            thread.join(JOIN_S)

    def _supervise(self, slot: ReplicaSlot) -> None:
        """Load a replica, wait for its end, and begin again."""
        retry_s = FIRST_RETRY_S
        while not self.is_closing:
            try:
                generation = self._load(slot)
            except PolicyError as error:
                slot.kill()
                if not self.is_closing:
                    logger.error("replica %d cannot be loaded: %s", slot.number, error)
                self._replicas.set_state(slot, FAILED, error)
                if self._closing.wait(retry_s):
                    return
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)
                self._replicas.set_state(slot, RESTARTING)
                continue
            retry_s = FIRST_RETRY_S
            reason = slot.wait_for_end()
            if not self.is_closing and not slot.is_leaving:
                logger.error("replica %d died and is replaced: %s", slot.number, reason)
                slot.deaths += 1
            self._replicas.mark_lost(slot, generation)

    def _load(self, slot: ReplicaSlot) -> int:
        """Load a replica and bring it to the state of the others; returns its generation.

        Raises:
            PolicyError: The policy cannot be loaded, or a replayed call fails.
        """
        description: PolicyDescription = slot.load()
        generation = slot.generation
        replayed: dict[str, Call] = {}
        while calls := self._replicas.calls_to_replay(slot, description, replayed):
            for client, call in calls.items():
                slot.call(client, *call)
            replayed |= calls
        return generation

    def _restart_all(self) -> None:
        if not self._restart_lock.acquire(blocking=False):
            logger.warning("the replicas are being restarted already")
            return
        slots = list(self._replicas)
        try:
            done = bool(slots) and all(map(self._restart, slots))
        finally:
            self._restart_lock.release()
        if done:
            logger.info("all %d replicas have been restarted", len(slots))
        elif not self.is_closing:
            logger.error("the rolling restart ended before all replicas were restarted")

    def _restart(self, slot: ReplicaSlot) -> bool:
        """Restart one replica; False ends the rolling restart."""
        if not self._replicas.begin_restart(slot):
            return not self._replicas.is_draining  # a failed replica is loaded again anyhow
        generation = slot.generation
        slot.kill()
        return self._replicas.finish_restart(slot, generation)
