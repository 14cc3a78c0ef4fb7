# SPDX-License-Identifier: Apache-2.0
"""An inference worker with a policy that tests script, and a clock that they move."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from helpers import wait_until

from gr00t_policy_core.control.replan import ReplanTimer
from gr00t_policy_core.errors import PolicyError
from gr00t_policy_core.policy import BasePolicy
from gr00t_ros.policy.inference_session import InferenceSession, no_options
from gr00t_ros.policy.inference_worker import InferenceResult, InferenceWorker
from gr00t_ros.policy.observation_builder import NotReadyError, TimedObservation


class Log:
    def __init__(self) -> None:
        self.infos: list[str] = []
        self.warnings: list[str] = []

    def info(self, message: str) -> None:
        self.infos.append(message)

    def warning(self, message: str) -> None:
        self.warnings.append(message)


class ScriptedPolicy(BasePolicy):
    """Does what the test puts into `troubles`, in order, and waits for `go` in every call."""

    def __init__(self) -> None:
        super().__init__(strict=False)
        self.go = threading.Event()
        self.go.set()
        self.troubles: list[Exception] = []
        self.calls: list[str] = []
        self.options: list[dict[str, Any] | None] = []
        self.at_once = 0
        self.most_at_once = 0
        self.threads: set[str] = set()

    def check_observation(self, observation: dict[str, Any]) -> None: ...

    def check_action(self, action: dict[str, Any]) -> None: ...

    def _get_action(
        self, observation: dict[str, Any], options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        with self._counted("get_action"):
            self.options.append(options)
            if self.troubles:
                raise self.troubles.pop(0)
            return {"number": observation["number"]}, {"timing": {"total": 0.25}}

    def reset(self, options: dict[str, Any] | None = None) -> dict[str, Any]:
        with self._counted("reset"):
            return {"episode": 3}

    def _counted(self, name: str) -> Any:
        return _Counted(self, name)

    def count(self, name: str) -> int:
        return self.calls.count(name)


class _Counted:
    def __init__(self, policy: ScriptedPolicy, name: str) -> None:
        self._policy, self._name = policy, name

    def __enter__(self) -> None:
        policy = self._policy
        policy.calls.append(self._name)
        policy.threads.add(threading.current_thread().name)
        policy.at_once += 1
        policy.most_at_once = max(policy.most_at_once, policy.at_once)
        policy.go.wait(timeout=30.0)

    def __exit__(self, *_: object) -> None:
        self._policy.at_once -= 1


class Rig:
    """A worker with a policy, a source of observations and a list of what it published."""

    def __init__(
        self,
        interval_s: float | None = 0.01,
        now_s: Callable[[], float] = time.monotonic,
        *,
        sync: bool = False,
        options: Callable[[int], dict[str, Any] | None] = no_options,
    ) -> None:
        self.policy = ScriptedPolicy()
        self.log = Log()
        self.interval_s = interval_s
        self.sync = sync
        self.options = options
        self._now_s = now_s
        self.blind = ""  # why the chunk must not be played on
        self.held: list[str] = []
        self.stamped = False  # with the present; else with the number of the observation
        self.not_ready: NotReadyError | None = None
        self.misfit: PolicyError | None = None
        self.prepared = 0
        self.meanwhile: Callable[[], None] | None = None  # happens once, while a session is made
        self.published: list[InferenceResult] = []
        self.publish_error: Exception | None = None
        self._numbers = itertools.count()
        self.worker = InferenceWorker(
            policy=self.policy,
            prepare=self._prepare,
            publish=self._publish,
            hold=self.held.append,
            logger=self.log,
            now_s=now_s,
        )

    def _prepare(self, policy: BasePolicy) -> InferenceSession:
        self.prepared += 1
        if self.misfit is not None:
            raise self.misfit
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        timer = ReplanTimer(chunk_s=1.0, step_s=0.1, interval_s=self.interval_s, sync=self.sync)
        return InferenceSession(
            build=self._build, timer=timer, options=self.options, why_blind=lambda: self.blind
        )

    def _build(self) -> TimedObservation:
        if self.not_ready is not None:
            raise self.not_ready
        number = next(self._numbers)
        if self.stamped:
            return TimedObservation({"number": number}, t0_ns=round(self._now_s() * 1e9))
        return TimedObservation({"number": number}, t0_ns=number)

    def _publish(self, answer: InferenceResult) -> None:
        if self.publish_error is not None:
            raise self.publish_error
        self.published.append(answer)

    def wait_for_answers(self, more: int = 3) -> None:
        wanted = len(self.published) + more
        wait_until(lambda: len(self.published) >= wanted, what="answers of the policy")

    def wait_for_reason(self, text: str) -> None:
        wait_until(lambda: text in self.worker.report.reason, what=f"the reason {text!r}")


class Clock:
    """Stands still until the test lets it go on; `looks` counts who read it."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Returns once the worker has seen the new time and done what it found due."""
        self.now_s += seconds
        seen = self.looks
        wait_until(lambda: self.looks >= seen + 3)
