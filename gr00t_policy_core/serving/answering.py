# SPDX-License-Identifier: Apache-2.0
"""How requests become replies, in the lanes of the policy: one by one, or several in one call."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from gr00t_policy_core.errors import PolicyError, PolicyTimeoutError
from gr00t_policy_core.policy import AskedBy, BasePolicy
from gr00t_policy_core.serving import batching, images, messages
from gr00t_policy_core.serving.endpoints import Endpoint
from gr00t_policy_core.serving.failures import FailureLog
from gr00t_policy_core.serving.jobs import Answer, Job
from gr00t_policy_core.serving.messages import Request
from gr00t_policy_core.serving.metrics import Metrics
from gr00t_policy_core.serving.request_limits import RequestLimits
from gr00t_policy_core.serving.serializer import Decoded, MsgSerializer
from gr00t_policy_core.serving.wire import Dialect

ACTION_ENDPOINT = "get_action"
DEADLINE = "deadline_s"
REMEMBERED_CLIENTS = 1024
# Pictures of requests that are read together: beyond these the rest is read after their answers.
UNPACKED_BYTES = 2**28
_NO_LIMITS = RequestLimits()


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
    """

    job: Job
    dialect: Dialect | None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    deadline_s: float | None = None
    alike: Hashable = None
    rows: int = 1
    unpacked_bytes: int = 0


class Answering:
    """Computes encoded replies, in several threads where the policy can be called from them.

    Handlers other than the policy's own `get_action` run one at a time.

    Args:
        serializer: Reads and writes messages.
        reply_format: As `PolicyServer` takes it.
        metrics: Told what was done.
        failures: Told what went wrong.
    """

    def __init__(
        self,
        serializer: type[MsgSerializer],
        reply_format: str,
        metrics: Metrics,
        failures: FailureLog,
    ) -> None:
        self._serializer = serializer
        self._reply_format = reply_format
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
        """Compute a reply to each job. Never raises."""
        if len(jobs) == 1:
            yield self._answer_one(jobs[0])
            return
        unread = deque(jobs)
        while unread:
            yield from self._answer_some(unread)

    def _answer_some(self, unread: deque[Job]) -> Iterator[Answer]:
        """Answer as many as may have their unpacked pictures in memory together."""
        asks: list[Ask] = []
        pixels = 0
        while unread and pixels <= UNPACKED_BYTES:
            job = unread.popleft()
            try:
                ask = self._read(job)
                pixels += ask.unpacked_bytes
                self._compare(ask)
                asks.append(ask)
            except BaseException as error:
                yield self._failed(job, error)
        while asks:
            group = self._next_group(asks)
            asks = [ask for ask in asks if ask not in group]
            if len(group) > 1:
                yield from self._answer_together(group)
            else:
                yield self._answer_alone(group[0])

    def _answer_one(self, job: Job) -> Answer:
        try:
            return self._answer_alone(self._read(job))
        except BaseException as error:
            return self._failed(job, error)

    def encode(self, request: Request, result: Any, dialect: Dialect | None) -> bytes:
        """A reply in the form that its client understands."""
        form = self._reply_format
        if form == "auto":
            form = "envelope" if request.envelope else "bare"
        reply = messages.success(result) if form == "envelope" else result
        return self._serializer.to_bytes(reply, dialect=dialect)

    def _read(self, job: Job) -> Ask:
        data = job.request.data
        decoded = (
            Decoded(None, None)
            if data is None
            else self._serializer.decode(
                data, max_items=job.endpoint.max_items, charge=job.message.sender.cost.add
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
        if policy is None or not ask.kwargs.keys() <= {"observation", "options"}:
            return
        observation = ask.args[0] if ask.args else ask.kwargs["observation"]
        if policy.strict:
            policy.check_observation(observation)
        form = batching.layout(observation)
        options = ask.kwargs.get("options")
        key = policy.batch_key(observation, options)
        if form is not None and key is not None:
            ask.kwargs = {"observation": observation, "options": options}
            ask.args = ()
            ask.rows = form[1]
            ask.alike = (form[0], key, self._serializer.to_bytes(options))

    def _next_group(self, asks: list[Ask]) -> list[Ask]:
        """The first request, and those that can be joined with it; no client's passes another."""
        group = [asks[0]]
        rows = asks[0].rows
        behind = set()
        for ask in asks[1:]:
            fits = rows + ask.rows <= self.max_batch and ask.job.client not in behind
            if fits and ask.alike is not None and ask.alike == asks[0].alike:
                group.append(ask)
                rows += ask.rows
            else:
                behind.add(ask.job.client)
        return group

    def _answer_together(self, group: list[Ask]) -> Iterator[Answer]:
        waiting = []
        for ask in group:
            if _is_late(ask):
                yield self._late(ask)
            else:
                waiting.append(ask)
        try:
            answers = self._call_together(waiting) if len(waiting) > 1 else None
        except BaseException as error:
            self._failures.add(f"{len(waiting)} requests in one", "several clients", error)
            answers = None
        if answers is None:  # each alone: one that fails shall not take the others with it
            yield from map(self._answer_alone, waiting)
        else:
            yield from answers

    def _call_together(self, group: list[Ask]) -> list[Answer]:
        observation = batching.join([ask.kwargs["observation"] for ask in group])
        options = group[0].kwargs["options"]
        started_s = time.monotonic()
        with self._alone:
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
        if _is_late(ask):
            return self._late(ask)
        endpoint = ask.job.endpoint
        started_s = time.monotonic()
        try:
            is_policys = endpoint is self._policy_endpoint
            with AskedBy(ask.job.asker), self._alone if is_policys else self._one_at_a_time:
                result = endpoint.handler(*ask.args, **ask.kwargs)
            inference_s = time.monotonic() - started_s
            if endpoint.name == ACTION_ENDPOINT:
                self._metrics.batch(1, inference_s)
            return self._reply(ask, result, started_s, inference_s)
        except BaseException as error:
            return self._failed(ask.job, error)

    def _reply(self, ask: Ask, result: Any, started_s: float, inference_s: float) -> Answer:
        job = ask.job
        if job.endpoint is self._policy_endpoint:
            queue_s = started_s - job.received_s
            total_s = time.monotonic() - job.received_s
            self._metrics.answered(job.client, queue_s, total_s)
            result = _timed(result, queue_s, inference_s, total_s)
        return Answer(job.route, self.encode(job.request, result, ask.dialect))

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
    return MsgSerializer.to_bytes(messages.failure(messages.error_text(error)))


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
