# SPDX-License-Identifier: Apache-2.0
"""Calls the policy for requests, one by one or several in one call, and encodes the replies."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from gr00t_policy_core.errors import PolicyTimeoutError
from gr00t_policy_core.policy import ClientScope
from gr00t_policy_core.serving.server import batching
from gr00t_policy_core.serving.server.batch_planner import BatchPlanner
from gr00t_policy_core.serving.server.codec import DecodedRequest, RequestCodec, encode_error
from gr00t_policy_core.serving.server.endpoints import ACTION_ENDPOINT
from gr00t_policy_core.serving.server.failure_log import FailureLog
from gr00t_policy_core.serving.server.metrics import Metrics
from gr00t_policy_core.serving.server.pending_request import PendingRequest, Reply
from gr00t_policy_core.serving.server.request_limits import RequestLimits
from gr00t_policy_core.serving.server.served_policy import ServedPolicy

# Decoded JPEG frames of requests that are decoded together: beyond these the rest of a batch is
# decoded after the first part is answered.
MAX_DECODED_JPEG_BYTES = 2**28
_NO_LIMITS = RequestLimits()

logger = logging.getLogger(__name__)


class BatchExecutor:
    """Turns pending requests into encoded replies. Safe in as many threads as the policy is.

    Handlers other than the policy's own ``get_action`` run one at a time.

    Args:
        served: The policy, with its endpoint and limits.
        codec: Decodes requests and encodes replies.
        metrics: Counts calls of the policy and the requests that they answered.
        failures: Logs every request that is answered with an error.
    """

    def __init__(
        self, served: ServedPolicy, codec: RequestCodec, metrics: Metrics, failures: FailureLog
    ) -> None:
        self._served = served
        self._codec = codec
        self._planner = BatchPlanner(served, codec, failures)
        self._metrics = metrics
        self._failures = failures
        self._one_handler_at_a_time = threading.Lock()
        self._policy_turn: AbstractContextManager[Any] = (
            self._one_handler_at_a_time if served.has_own_handler else contextlib.nullcontext()
        )

    @property
    def max_batch(self) -> int:
        """The largest number of rows (B) in one call."""
        return self._served.max_batch

    def is_batchable(self, request: PendingRequest) -> bool:
        """Whether a request may be answered in one call with others."""
        return request.endpoint is self._served.endpoint

    def execute(self, requests: Sequence[PendingRequest]) -> Iterator[Reply]:
        """Answer requests: one reply to each, those to one client in the order of its requests.

        Does not raise: an exception of the policy becomes an error reply.

        Args:
            requests: One, or several for each of which `is_batchable` is true.
        """
        if len(requests) == 1:
            yield self._execute_alone(self._decode(requests[0]))
            return
        unanswered = list(requests)
        try:
            for request, reply in self._execute_batches(requests):
                unanswered.remove(request)
                yield reply
        except GeneratorExit:
            raise
        except BaseException as error:  # an error of the server's own: every client gets a reply
            logger.exception("cannot answer %d requests", len(unanswered))
            yield from [self.fail(request, error) for request in unanswered]

    def fail(self, request: PendingRequest, error: BaseException) -> Reply:
        """Log and count an error, and make the error reply."""
        self._failures.report(request.endpoint.name, request.peer, error, request.connection)
        return Reply(request.route, encode_error(error))

    def _execute_batches(
        self, requests: Sequence[PendingRequest]
    ) -> Iterator[tuple[PendingRequest, Reply]]:
        not_decoded = deque(requests)
        while not_decoded:
            decoded = self._decode_some(not_decoded)
            while decoded:
                batch = self._planner.next_batch(decoded)
                decoded = [request for request in decoded if request not in batch]
                pending = [request.pending for request in batch]
                yield from zip(pending, self._execute_batch(batch), strict=True)

    def _decode_some(self, not_decoded: deque[PendingRequest]) -> list[DecodedRequest]:
        """Take out and decode as many requests as may have their frames in memory together."""
        decoded: list[DecodedRequest] = []
        jpeg_bytes = 0
        while not_decoded and jpeg_bytes <= MAX_DECODED_JPEG_BYTES:
            request = self._planner.with_batch_key(self._decode(not_decoded.popleft()))
            jpeg_bytes += request.decoded_jpeg_bytes
            decoded.append(request)
        return decoded

    def _decode(self, pending: PendingRequest) -> DecodedRequest:
        if pending.client_has_left:
            return DecodedRequest(pending, error=_lateness(pending))
        limits = self._served.limits if self.is_batchable(pending) else _NO_LIMITS
        try:
            return self._codec.decode(pending, limits)
        except BaseException as error:
            return DecodedRequest(pending, error=error)

    def _execute_batch(self, batch: Sequence[DecodedRequest]) -> Iterator[Reply]:
        """One reply to each request, in order."""
        is_late = [request.is_late for request in batch]
        in_time = [request for request, late in zip(batch, is_late, strict=True) if not late]
        joint = self._try_joint_call(in_time) if len(in_time) > 1 else None
        # Where the joint call fails each is called alone: a bad one does not fail the others.
        replies = map(self._execute_alone, in_time) if joint is None else iter(joint)
        for request, late in zip(batch, is_late, strict=True):
            yield self._fail_late(request) if late else next(replies)

    def _try_joint_call(self, batch: Sequence[DecodedRequest]) -> list[Reply] | None:
        try:
            return self._joint_call(batch)
        except BaseException as error:
            self._failures.log(f"a batch of {len(batch)} requests", "several clients", error)
            return None

    def _joint_call(self, batch: Sequence[DecodedRequest]) -> list[Reply]:
        observation = batching.join([request.kwargs["observation"] for request in batch])
        options = batch[0].kwargs["options"]
        started_s = time.monotonic()
        # Held until the replies are encoded, because the next call may write into the same arrays.
        with self._policy_turn:
            result = self._served.endpoint.handler(observation, options)
            inference_s = time.monotonic() - started_s
            action, info = result
            parts = batching.split(action, info, [request.rows for request in batch])
            self._metrics.batch(len(batch), inference_s)
            return [
                self._encode(request, list(part), started_s, inference_s)
                for request, part in zip(batch, parts, strict=True)
            ]

    def _execute_alone(self, request: DecodedRequest) -> Reply:
        pending = request.pending
        if request.error is not None:
            return self.fail(pending, request.error)
        if request.is_late:
            return self._fail_late(request)
        endpoint = pending.endpoint
        is_policy = endpoint is self._served.endpoint
        turn = self._policy_turn if is_policy else self._one_handler_at_a_time
        started_s = time.monotonic()
        try:
            with ClientScope(pending.client_id), turn:  # until it is encoded, as in `_joint_call`
                result = endpoint.handler(*request.args, **request.kwargs)
                inference_s = time.monotonic() - started_s
                if endpoint.name == ACTION_ENDPOINT:
                    self._metrics.batch(1, inference_s)
                return self._encode(request, result, started_s, inference_s)
        except BaseException as error:
            return self.fail(pending, error)

    def _encode(
        self, request: DecodedRequest, result: Any, started_s: float, inference_s: float
    ) -> Reply:
        pending = request.pending
        if pending.endpoint is not self._served.endpoint:
            body = self._codec.encode(pending.request, result, request.dialect)
            return Reply(pending.route, body)
        queue_s = started_s - pending.received_s
        total_s = time.monotonic() - pending.received_s
        result = _with_timing(result, queue_s, inference_s, total_s)
        body = self._codec.encode(pending.request, result, request.dialect)
        self._metrics.answered(pending.connection, queue_s, total_s, request.client_info)
        return Reply(pending.route, body)

    def _fail_late(self, request: DecodedRequest) -> Reply:
        return self.fail(request.pending, _lateness(request.pending))


def _lateness(pending: PendingRequest) -> PolicyTimeoutError:
    waited_s = time.monotonic() - pending.received_s
    return PolicyTimeoutError(
        f"dropped: its turn came after {waited_s:.3f} s, when its client waited no longer"
    )


def _with_timing(result: Any, queue_s: float, inference_s: float, total_s: float) -> Any:
    """Add the server's measurements to ``info["timing"]``, beside those of the policy."""
    if not (isinstance(result, (tuple, list)) and len(result) == 2 and isinstance(result[1], dict)):
        return result
    action, info = result
    policy_timing = info.get("timing")
    timing = {
        "total": inference_s,  # the policy's own where it measured
        **(policy_timing if isinstance(policy_timing, dict) else {}),
        "queue_s": queue_s,
        "inference_s": inference_s,
        "total_s": total_s,
    }
    return [action, {**info, "timing": timing}]
