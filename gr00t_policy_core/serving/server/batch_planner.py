# SPDX-License-Identifier: Apache-2.0
"""Which requests can be answered by one call of the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gr00t_policy_core.policy import batch_all
from gr00t_policy_core.serving.server import batching
from gr00t_policy_core.serving.server.codec import DecodedRequest, RequestCodec
from gr00t_policy_core.serving.server.failure_log import FailureLog
from gr00t_policy_core.serving.server.served_policy import ServedPolicy

_ARGUMENTS = {"observation", "options"}  # a request with any other one is answered alone


class BatchPlanner:
    """Groups decoded requests to batches. Safe in any thread.

    Args:
        served: The policy, whose own rule (`BasePolicy.batch_key`) applies too.
        codec: Makes the options of requests comparable.
        failures: Logs rules that raise.
    """

    def __init__(self, served: ServedPolicy, codec: RequestCodec, failures: FailureLog) -> None:
        self._policy = served.policy
        self._max_rows = served.max_batch
        self._codec = codec
        self._failures = failures

    def with_batch_key(self, decoded: DecodedRequest) -> DecodedRequest:
        """Return a request with its batch key, or without one if it has to be answered alone.

        A strict policy checks the observation here, so that a bad one does not fail the requests
        in its batch. A request with a bad observation is returned with its error.
        """
        if decoded.error is not None or not decoded.kwargs.keys() <= _ARGUMENTS:
            return decoded
        if not decoded.args and "observation" not in decoded.kwargs:
            return decoded
        observation = decoded.args[0] if decoded.args else decoded.kwargs["observation"]
        options = decoded.kwargs.get("options")
        try:
            if getattr(self._policy, "strict", False):
                self._policy.check_observation(observation)
        except BaseException as error:
            return replace(decoded, error=error)
        try:
            layout = batching.layout(observation)
            policy_key = getattr(self._policy, "batch_key", batch_all)(observation, options)
            if layout is None or policy_key is None:
                return decoded
            return replace(
                decoded,
                args=(),
                kwargs={"observation": observation, "options": options},
                batch_key=(layout[0], policy_key, self._codec.encode_options(options)),
                rows=layout[1],
            )
        except BaseException as error:  # a request that is answered alone needs no key
            self._failures.log("batch_key", decoded.pending.peer, error)
            return decoded

    def next_batch(self, requests: Sequence[DecodedRequest]) -> list[DecodedRequest]:
        """Return the first request and those that can join it, with each client's in order."""
        first = requests[0]
        batch = [first]
        rows = first.rows
        overtaken = set()  # connections with a request that is left for later
        for request in requests[1:]:
            connection = request.pending.connection
            fits = rows + request.rows <= self._max_rows and connection not in overtaken
            if fits and self._can_join(first, request):
                batch.append(request)
                rows += request.rows
            else:
                overtaken.add(connection)
        return batch

    def _can_join(self, first: DecodedRequest, second: DecodedRequest) -> bool:
        if first.batch_key is None or second.batch_key is None:
            return False
        try:
            return bool(first.batch_key == second.batch_key)
        except BaseException as error:  # raised by the policy's own key
            self._failures.log("comparing batch keys", second.pending.peer, error)
            return False
