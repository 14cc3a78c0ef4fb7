# SPDX-License-Identifier: Apache-2.0
"""How requests become replies, in the lanes of the policy: one by one, or several in one call."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from gr00t_policy_core.errors import PolicyError, PolicyTimeoutError
from gr00t_policy_core.policy import BasePolicy, ClientScope, batch_all
from gr00t_policy_core.serving.server import batching
from gr00t_policy_core.serving.server.endpoints import Endpoint
from gr00t_policy_core.serving.server.failure_log import FailureLog
from gr00t_policy_core.serving.server.jobs import Answer, Job
from gr00t_policy_core.serving.server.metrics import Metrics
from gr00t_policy_core.serving.server.request_limits import RequestLimits
from gr00t_policy_core.serving.wire import envelope as messages
from gr00t_policy_core.serving.wire import jpeg as images
from gr00t_policy_core.serving.wire.arrays import Dialect
from gr00t_policy_core.serving.wire.envelope import Request
from gr00t_policy_core.serving.wire.error_text import error_text
from gr00t_policy_core.serving.wire.serializer import Decoded, MsgSerializer

ACTION_ENDPOINT = "get_action"
DEADLINE = "deadline_s"
REMEMBERED_CLIENTS = 1024
# Pictures of requests that are read together: beyond these the rest is read after their answers.
UNPACKED_BYTES = 2**28
_JOINABLE = {"observation", "options"}
_NO_LIMITS = RequestLimits()

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Ask:
    """A decoded request.

    Args:
        job: Where it came from.
        dialect: Of its client.
        args: For the handler.
        kwargs: For the handler.
        deadline_s: When its client waits no more, in `time.monotonic`; None where it did not tell.
        alike: What it must have in common with others to be joined; None: it stays alone.
        rows: Its B, where it can be joined.
        unpacked_bytes: Of pictures that came as JPEG.
        error: Why it cannot be asked at all; None where it can.
    """

    job: Job
    dialect: Dialect | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    deadline_s: float | None = None
    alike: Hashable = None
    rows: int = 1
    unpacked_bytes: int = 0
    error: BaseException | None = None


class Answering:
    """Computes encoded replies, in several threads where the policy can be called from them.

    Handlers other than the policy's own `get_action` run one at a time.

    Args:
        serializer: Reads and writes messages.
        reply_format: As `PolicyServer` takes it.
        run: Of the server, told in enveloped replies.
        metrics: Told what was done.
        failures: Told what went wrong.
    """

    def __init__(
        self,
        serializer: type[MsgSerializer],
        reply_format: str,
        run: str,
        metrics: Metrics,
        failures: FailureLog,
    ) -> None:
        self._serializer = serializer
        self._reply_format = reply_format
        self._run = run
        self._metrics = metrics
        self._failures = failures
        self._dialects_lock = threading.Lock()
        self._client_dialects: OrderedDict[bytes, Dialect] = OrderedDict()
        self._one_at_a_time = threading.Lock()
        self._policy: BasePolicy | None = None
        self._policy_endpoint: Endpoint | None = None
        self._alone: AbstractContextManager[Any] = self._one_at_a_time  # for the policy's endpoint
        self._limits = RequestLimits()
        self.max_batch = 1

    def take(
        self, policy: BasePolicy, endpoint: Endpoint, max_batch: int, limits: RequestLimits
    ) -> None:
        """The policy is there.

        Args:
            policy: It.
            endpoint: Where it is asked for actions; its handler may be another than the policy's.
            max_batch: Most rows that it is asked for in one call.
            limits: Of requests for actions.
        """
        self._limits = limits
        if endpoint.handler == getattr(policy, ACTION_ENDPOINT, None):
            self._alone = contextlib.nullcontext()
        self._policy = policy
        self._policy_endpoint = endpoint
        self.max_batch = max_batch

    def joinable(self, job: Job) -> bool:
        """Whether it may be answered together with others."""
        return job.endpoint is self._policy_endpoint

    def answer(self, jobs: list[Job]) -> Iterator[Answer]:
        """Compute one reply to each job, those to one client in the order of its jobs.

        Never raises, whatever the policy does.
        """
        if len(jobs) == 1:
            yield self._answer_alone(self._try_read(jobs[0]))
            return
        left = list(jobs)
        try:
            for job, answer in self._answers(jobs):
                left.remove(job)
                yield answer
        except GeneratorExit:
            raise
        except BaseException as error:  # a fault of ours: nobody may wait in vain because of it
            logger.exception("%d requests are refused", len(left))
            yield from [self._failed(job, error) for job in left]

    def _answers(self, jobs: list[Job]) -> Iterator[tuple[Job, Answer]]:
        unread = deque(jobs)
        while unread:
            asks = self._read_some(unread)
            while asks:
                group = self._next_group(asks)
                asks = [ask for ask in asks if ask not in group]
                yield from zip([ask.job for ask in group], self._answer_group(group), strict=True)

    def _read_some(self, unread: deque[Job]) -> list[Ask]:
        """Take out and read as many as may have their unpacked pictures in memory together."""
        asks: list[Ask] = []
        while unread and sum(ask.unpacked_bytes for ask in asks) <= UNPACKED_BYTES:
            ask = self._try_read(unread.popleft())
            self._compare(ask)
            asks.append(ask)
        return asks

    def _try_read(self, job: Job) -> Ask:
        try:
            return self._read(job)
        except BaseException as error:
            return Ask(job, error=error)

    def encode(self, request: Request, result: Any, dialect: Dialect | None) -> bytes:
        """A reply in the form that its client understands."""
        form = self._reply_format
        if form == "auto":
            form = "envelope" if request.envelope else "bare"
        run = self._run if request.envelope else None  # for clients that know what it is
        reply = messages.success(result, run) if form == "envelope" else result
        return self._serializer.to_bytes(reply, dialect=dialect)

    def _read(self, job: Job) -> Ask:
        data = job.request.data
        decoded = (
            Decoded(None, None)
            if data is None
            else self._serializer.decode(
                data,
                max_items=job.endpoint.max_items,
                charge=job.message.sender.rate_limiter.charge,
            )
        )
        ask = Ask(job, self._dialect_of(job.client, decoded.dialect))
        value = decoded.value
        if job.endpoint.name == ACTION_ENDPOINT:
            value = _with_pixels(
                value, self._limits if job.endpoint is self._policy_endpoint else _NO_LIMITS
            )
            ask.unpacked_bytes = 0 if value is decoded.value else images.video_bytes(value)
        ask.args, ask.kwargs = job.endpoint.arguments(value)
        if job.endpoint.name == ACTION_ENDPOINT:
            ask.deadline_s = _take_deadline(job, ask.kwargs)
        return ask

    def _compare(self, ask: Ask) -> None:
        """Find out what it can be joined with; checked before, it then harms nobody else."""
        policy = self._policy
        if ask.error is not None or policy is None or not ask.kwargs.keys() <= _JOINABLE:
            return
        if not ask.args and "observation" not in ask.kwargs:
            return
        observation = ask.args[0] if ask.args else ask.kwargs["observation"]
        options = ask.kwargs.get("options")
        try:
            if getattr(policy, "strict", False):
                policy.check_observation(observation)
        except BaseException as error:
            ask.error = error
            return
        try:
            form = batching.layout(observation)
            key = getattr(policy, "batch_key", batch_all)(observation, options)
            if form is not None and key is not None:
                ask.alike = (form[0], key, self._serializer.to_bytes(options))
                ask.rows = form[1]
                ask.kwargs = {"observation": observation, "options": options}
                ask.args = ()
        except BaseException as error:  # then it is answered alone, which needs no key
            self._failures.add("batch_key", ask.job.peer, error)

    def _next_group(self, asks: list[Ask]) -> list[Ask]:
        """The first request, and those that can be joined with it; no client's passes another."""
        group = [asks[0]]
        rows = asks[0].rows
        behind = set()
        for ask in asks[1:]:
            fits = rows + ask.rows <= self.max_batch and ask.job.client not in behind
            if fits and self._are_alike(asks[0], ask):
                group.append(ask)
                rows += ask.rows
            else:
                behind.add(ask.job.client)
        return group

    def _are_alike(self, first: Ask, second: Ask) -> bool:
        if first.alike is None or second.alike is None:
            return False
        try:
            return bool(first.alike == second.alike)
        except BaseException as error:  # of the policy's own `batch_key`
            self._failures.add("comparing batch keys", second.job.peer, error)
            return False

    def _answer_group(self, group: list[Ask]) -> Iterator[Answer]:
        """One answer to each, in order."""
        late = [_is_late(ask) for ask in group]
        waiting = [ask for ask, is_late in zip(group, late, strict=True) if not is_late]
        together = self._try_together(waiting) if len(waiting) > 1 else None
        # Else each alone: one that fails shall not take the others with it.
        answers = map(self._answer_alone, waiting) if together is None else iter(together)
        for ask, is_late in zip(group, late, strict=True):
            yield self._late(ask) if is_late else next(answers)

    def _try_together(self, group: list[Ask]) -> list[Answer] | None:
        try:
            return self._call_together(group)
        except BaseException as error:
            self._failures.add(f"{len(group)} requests in one", "several clients", error)
            return None

    def _call_together(self, group: list[Ask]) -> list[Answer]:
        observation = batching.join([ask.kwargs["observation"] for ask in group])
        options = group[0].kwargs["options"]
        started_s = time.monotonic()
        with self._alone:  # until it is encoded: the next call may write into the same arrays
            result = group[0].job.endpoint.handler(observation, options)
            inference_s = time.monotonic() - started_s
            action, info = result
            parts = batching.split(action, info, [ask.rows for ask in group])
            self._metrics.batch(len(group), inference_s)
            return [
                self._reply(ask, list(part), started_s, inference_s)
                for ask, part in zip(group, parts, strict=True)
            ]

    def _answer_alone(self, ask: Ask) -> Answer:
        if ask.error is not None:
            return self._failed(ask.job, ask.error)
        if _is_late(ask):
            return self._late(ask)
        endpoint = ask.job.endpoint
        alone = self._alone if endpoint is self._policy_endpoint else self._one_at_a_time
        started_s = time.monotonic()
        try:
            with ClientScope(ask.job.asker), alone:  # until it is encoded, as above
                result = endpoint.handler(*ask.args, **ask.kwargs)
                inference_s = time.monotonic() - started_s
                if endpoint.name == ACTION_ENDPOINT:
                    self._metrics.batch(1, inference_s)
                return self._reply(ask, result, started_s, inference_s)
        except BaseException as error:
            return self._failed(ask.job, error)

    def _reply(self, ask: Ask, result: Any, started_s: float, inference_s: float) -> Answer:
        job = ask.job
        if job.endpoint is not self._policy_endpoint:
            return Answer(job.route, self.encode(job.request, result, ask.dialect))
        queue_s = started_s - job.received_s
        total_s = time.monotonic() - job.received_s
        result = _timed(result, queue_s, inference_s, total_s)
        answer = Answer(job.route, self.encode(job.request, result, ask.dialect))
        self._metrics.answered(job.client, queue_s, total_s)
        return answer

    def _late(self, ask: Ask) -> Answer:
        waited_s = time.monotonic() - ask.job.received_s
        return self._failed(
            ask.job,
            PolicyTimeoutError(
                f"dropped: its turn came after {waited_s:.3f} s, later than its client waits"
            ),
        )

    def _failed(self, job: Job, error: BaseException) -> Answer:
        self._failures.add(job.endpoint.name, job.peer, error)
        self._metrics.error(type(error).__name__, job.client)
        return Answer(job.route, failure(error))

    def _dialect_of(self, client: bytes, seen: Dialect | None) -> Dialect | None:
        """The dialect of this request, else the last one of the same client."""
        if seen is not None and self._client_dialects.get(client) is seen:
            return seen
        with self._dialects_lock:
            dialect = seen or self._client_dialects.pop(client, None)
            if dialect is not None:
                self._client_dialects[client] = dialect
                self._client_dialects.move_to_end(client)
                if len(self._client_dialects) > REMEMBERED_CLIENTS:
                    self._client_dialects.popitem(last=False)
            return dialect


def failure(error: BaseException) -> bytes:
    """The reply that says what went wrong, for every client."""
    return MsgSerializer.to_bytes(messages.failure(error_text(error)))


def other_run(run: str) -> bytes:
    """The reply to a request that was made for another run of the server, and not computed."""
    text = "the server was restarted since this client asked what its policy takes: ask again"
    return MsgSerializer.to_bytes(messages.failure(text, run))


def _with_pixels(data: Any, limits: RequestLimits) -> Any:
    """The data of a request for actions with arrays in place of JPEG."""
    given = data["observation"] if isinstance(data, dict) and "observation" in data else data
    limits.check_rows(given)
    observation = images.from_jpeg(given, limits.cameras)
    if observation is given:
        return data
    return observation if given is data else {**data, "observation": observation}


def _take_deadline(job: Job, kwargs: dict[str, Any]) -> float | None:
    """When the client waits no more; taken out, since policies do not know that option."""
    options = kwargs.get("options")
    if not isinstance(options, dict) or DEADLINE not in options:
        return None
    left_s = options[DEADLINE]
    if isinstance(left_s, bool) or not isinstance(left_s, (int, float)):
        raise PolicyError(f"options[{DEADLINE!r}] must be seconds, got {type(left_s).__name__}")
    kwargs["options"] = {k: v for k, v in options.items() if k != DEADLINE} or None
    return job.received_s + float(left_s)


def _is_late(ask: Ask) -> bool:
    """Whether nobody waits for the answer any more."""
    if ask.job.is_abandoned:
        return True
    return ask.deadline_s is not None and not time.monotonic() < ask.deadline_s


def _timed(result: Any, queue_s: float, inference_s: float, total_s: float) -> Any:
    """Add to the info what the server measured, beside what the policy did."""
    if not (isinstance(result, (tuple, list)) and len(result) == 2 and isinstance(result[1], dict)):
        return result
    action, info = result
    policys = info.get("timing")
    timing = {
        "total": inference_s,  # the policy's own, where it measured
        **(policys if isinstance(policys, dict) else {}),
        "queue_s": queue_s,
        "inference_s": inference_s,
        "total_s": total_s,
    }
    return [action, {**info, "timing": timing}]
