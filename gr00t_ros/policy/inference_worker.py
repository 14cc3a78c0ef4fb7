# SPDX-License-Identifier: Apache-2.0
"""The worker that asks the policy, in a thread of its own and never in a callback. Pure.

While something is missing (a camera, the server, a policy that fits), the worker waits, reports
what is missing, and resumes by itself when it is available again.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from gr00t_policy_core.errors import ClosedError, PolicyError
from gr00t_policy_core.policy import BasePolicy
from gr00t_ros.policy.inference_session import InferenceSession, Logger
from gr00t_ros.policy.observation_builder import NotReadyError
from gr00t_ros.policy.policy_backend import tell_server

RETRY_S = 0.5  # between attempts while the policy fails: a short outage, and no flood of requests
POLL_S = 0.1  # longest wait for a new message while an observation is not ready
CLOCK_POLL_S = 0.02  # longest wait for a due time: simulated time may run at any speed
LOG_AGAIN_S = 10.0  # shortest time between two logs of a problem that comes and goes


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """One answer of the policy.

    Args:
        action: Action chunk by action key, as the policy returned it, in its own units.
        info: The second value that the policy returned, beside the action.
        t0_ns: Stamp of the observation, ns.
        round_trip_s: Time from sending the observation to receiving the answer, s.
        positions: The joints that the observation measured, by name, rad (or m).
        instruction: What the policy was asked to do.
    """

    action: Mapping[str, Any]
    info: Mapping[str, Any]
    t0_ns: int
    round_trip_s: float
    positions: Mapping[str, float] = field(default_factory=dict)
    instruction: str = ""

    @property
    def policy_time_s(self) -> float:
        """The duration that the policy reports, s: `info["timing"]["total"]`, as our server and
        models write it; NaN if it reports none.
        """
        timing = self.info.get("timing") if isinstance(self.info, Mapping) else None
        total = timing.get("total") if isinstance(timing, Mapping) else None
        return float(total) if isinstance(total, (int, float)) else math.nan


@dataclass(frozen=True, slots=True)
class InferenceReport:
    """What the worker does, and its counts since it was constructed.

    Args:
        reason: Why the worker does not infer; empty while it does.
        cause: The reason without its numbers, the same for the same problem; empty where there is
            no problem.
        inferences: Calls that the policy answered.
        errors: Calls that failed, and answers that could not be published.
        skipped: Number of times that there was no observation to send.
    """

    reason: str = "stopped"
    cause: str = ""
    inferences: int = 0
    errors: int = 0
    skipped: int = 0


class InferenceWorker:
    """Asks a policy for one chunk after another while started.

    Args:
        policy: Answers observations; called from the worker's thread only.
        prepare: Checks that the policy fits the robot, and returns the session. Called before the
            first observation and after every failure, since another policy may answer then. Raises
            `PolicyError`, or `NotReadyError` if waiting is enough.
        publish: Publishes each answer, in the worker's thread; not called once `stop` has returned.
        hold: Has the robot leave its chunk, for a reason; called as `publish` is.
        logger: Logs each new problem once, and its end.
        now_s: The clock of the replan interval, s; it may stand still or jump.
    """

    def __init__(
        self,
        *,
        policy: BasePolicy,
        prepare: Callable[[BasePolicy], InferenceSession],
        publish: Callable[[InferenceResult], None],
        hold: Callable[[str], None],
        logger: Logger,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._now_s = now_s
        self._prepare = prepare
        self._publish = publish
        self._hold = hold
        self._logger = logger
        self._session: InferenceSession | None = None
        self._renewals = 0
        self._report = InferenceReport()
        self._logged_s: dict[str, float] = {}  # when each cause was last logged
        self._logged_problem = False
        self._asked_s = self._due_s = -math.inf  # by now_s
        self._run_number = self._due_run = 0
        self._earliest_ns = 0
        self._started = False
        self._closing = False
        self._resets: list[Future[dict[str, Any]]] = []
        self._news: Mapping[str, Any] | None = None
        self._awaits_message = False
        self._skip_counted_s = 0.0
        # Guards what other threads access, and the moment of publishing.
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    @property
    def report(self) -> InferenceReport:
        """What the worker does at present, and its counts."""
        return self._report

    @property
    def pace_warning(self) -> str:
        """What is wrong with the policy's pace, and what to do; empty if it keeps up."""
        session = self._session
        return session.timer.pace_problem if session is not None else ""

    @property
    def image_resize(self) -> str:
        """What the policy does first with an image, as it names it; empty while it is not known."""
        session = self._session
        return session.image_resize if session is not None else ""

    @property
    def started(self) -> bool:
        """Whether the worker was asked to infer."""
        return self._started

    def start(self) -> None:
        """Start inferring."""
        with self._lock:
            self._started = True
            self._run_number += 1
            self._logged_s.clear()
            self._update_report(reason="starting", cause="")
        self._wake.set()

    def stop(self, reason: str = "stopped") -> None:
        """Stop inferring; the worker drops an answer that is still on its way.

        Args:
            reason: What the report says until the next start.
        """
        with self._lock:
            self._started = False
            self._run_number += 1
            self._update_report(reason=reason, cause="")
        self._wake.set()

    def reset(self) -> Future[dict[str, Any]]:
        """Reset the policy between two inferences; the future holds its answer or its error.

        The worker drops answers to observations from before the reset.
        """
        future: Future[dict[str, Any]] = Future()
        with self._lock:
            self._run_number += 1
            self._resets.append(future)
        self._wake.set()
        return future

    def ask_anew(self, since_ns: int) -> None:
        """Ask as soon as there is an observation since a time, by the clock of the stamps, ns.

        The worker drops answers to observations from before.
        """
        with self._lock:
            self._run_number += 1
            self._due_s = -math.inf
            self._earliest_ns = since_ns
        self._wake.set()

    def tell(self, news: Mapping[str, Any]) -> None:
        """Tell the server between two inferences what the robot does; the newest news count."""
        self._news = news
        self._wake.set()

    def close(self, timeout_s: float) -> bool:
        """End the thread; returns whether it ended within the time (a policy may hang)."""
        self.stop()
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s)
        for future in self._take_resets():
            future.set_exception(ClosedError("the policy was closed before it could be reset"))
        return not self._thread.is_alive()

    def renew_session(self) -> None:
        """Prepare a new session before the next observation: what it depends on has changed."""
        self._renewals += 1
        self._session = None
        self._wake.set()

    def notice_message(self) -> None:
        """Wake the worker after a new message: an observation may be ready now."""
        if self._awaits_message:
            self._wake.set()

    def _run(self) -> None:
        while True:
            # Cleared before anything is read, so that no request is slept through.
            self._wake.clear()
            if self._closing:
                return
            self._serve_resets()
            self._tell_news()
            self._wake.wait(self._step() if self._started else None)

    def _step(self) -> float:
        """Try one inference; returns how long to wait for the next try, s."""
        run_number = self._run_number
        now_s = self._now_s()
        session = self._session
        # A new run has no chunk to play: only a periodic schedule is kept over a stop or a reset.
        is_awaited = run_number == self._due_run or (
            session is not None and session.timer.is_periodic
        )
        if is_awaited and self._asked_s <= now_s < self._due_s:
            why_blind = session.why_blind() if session is not None else ""
            if not why_blind:
                return min(self._due_s - now_s, CLOCK_POLL_S)
            self._leave_chunk(why_blind, run_number)
        self._awaits_message = False
        try:
            session = session or self._new_session()
            built = session.build()
            now_s = self._now_s()  # to prepare takes a while, in which the clock may begin
            # A clock that was set back has forgotten that time.
            if built.t0_ns < self._earliest_ns <= now_s * 1e9:
                self._awaits_message = True
                return POLL_S
            self._asked_s, started_s = now_s, time.monotonic()
            options = session.options(built.t0_ns)
            action, info = self._policy.get_action(built.observation, options)
            round_trip_s = time.monotonic() - started_s
            result = InferenceResult(
                action, info, built.t0_ns, round_trip_s, built.positions, built.instruction
            )
            self._deliver(result, run_number)
        except NotReadyError as problem:
            self._skip(problem)
            return POLL_S if self._session else RETRY_S
        except PolicyError as problem:
            self._fail(problem, str(problem))
            return RETRY_S
        except Exception as problem:  # a policy may raise or answer anything; the worker goes on
            self._fail(problem, f"{type(problem).__name__}: {problem}")
            return RETRY_S
        self._due_s = session.timer.next_s(
            observed_s=built.t0_ns * 1e-9, asked_s=now_s, answered_s=self._now_s()
        )
        self._due_run = run_number
        return 0.0

    def _leave_chunk(self, reason: str, run_number: int) -> None:
        """Have the robot come to rest, and ask as soon as there is an observation."""
        with self._lock:
            if run_number == self._run_number:
                self._hold(reason)
                self._due_s = -math.inf

    def _new_session(self) -> InferenceSession:
        """Prepare a session, and another one where what it depends on has changed meanwhile."""
        while True:
            renewals = self._renewals
            session = self._session = self._prepare(self._policy)
            if renewals == self._renewals:
                return session

    def _deliver(self, answer: InferenceResult, run_number: int) -> None:
        with self._lock:
            if run_number != self._run_number:
                return  # stopped or reset in the meantime: the observation is from before that
            self._publish(answer)
            if self._logged_problem:
                self._logger.info(f"inferring again, after waiting: {self._report.reason}")
            self._logged_problem = False
            self._update_report(reason="", cause="", inferences=self._report.inferences + 1)

    def _skip(self, problem: NotReadyError) -> None:
        """Count a skip, at the rate of inference and not at the rate of the attempts."""
        session = self._session  # another thread may renew it
        self._awaits_message = session is not None  # a message cannot make a server ready
        interval_s = session.timer.interval_s if session is not None else RETRY_S
        if time.monotonic() - self._skip_counted_s >= interval_s:
            self._skip_counted_s = time.monotonic()
            self._update_report(skipped=self._report.skipped + 1)
        self._report_problem(problem.cause, str(problem))

    def _fail(self, problem: Exception, reason: str) -> None:
        self._session = None
        self._update_report(errors=self._report.errors + 1)
        self._report_problem(type(problem).__name__, reason)

    def _report_problem(self, cause: str, reason: str) -> None:
        with self._lock:
            if not self._started:
                return
            is_known = cause == self._report.cause
            self._update_report(reason=reason, cause=cause)
            if is_known:
                return
            now_s = time.monotonic()
            if now_s - self._logged_s.get(cause, -math.inf) < LOG_AGAIN_S:
                return
            self._logged_s[cause] = now_s
            self._logged_problem = True
            self._logger.warning(f"not inferring: {reason}")

    def _serve_resets(self) -> None:
        for future in self._take_resets():
            try:
                future.set_result(self._policy.reset())
            except Exception as error:  # passed on to the caller of `reset`
                future.set_exception(error)

    def _tell_news(self) -> None:
        """Pass on the news, unless the policy has just failed: it would cost another timeout."""
        news, self._news = self._news, None
        if news is None or (self._started and self._session is None):
            return
        try:
            tell_server(self._policy, news)
        except Exception as error:  # nobody but the people who watch a fleet misses anything
            self._logger.debug(f"the server was not told what the robot does: {error}")

    def _take_resets(self) -> list[Future[dict[str, Any]]]:
        with self._lock:
            resets, self._resets = self._resets, []
        return resets

    def _update_report(self, **changes: Any) -> None:
        with self._lock:
            self._report = replace(self._report, **changes)
