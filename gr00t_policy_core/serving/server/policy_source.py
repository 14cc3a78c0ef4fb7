# SPDX-License-Identifier: Apache-2.0
"""The source of a server's policy: an existing policy, or a function that makes one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

from gr00t_policy_core.policy import BasePolicy
from gr00t_policy_core.serving.server.endpoints import EndpointTable
from gr00t_policy_core.serving.server.lifecycle import Lifecycle
from gr00t_policy_core.serving.server.served_policy import ServedPolicy
from gr00t_policy_core.serving.wire.error_text import log_text

logger = logging.getLogger(__name__)


class PolicySource:
    """Loads the policy. An existing policy is served from the constructor on.

    Args:
        policy: The policy, or a function that makes it.
        endpoints: Receives the endpoints of the policy.
        lifecycle: Receives the policy, or the error in making it.
        max_batch: The server's limit of rows per call.
        on_ready: Called when the policy is loaded.
    """

    def __init__(
        self,
        policy: BasePolicy | Callable[[], BasePolicy],
        endpoints: EndpointTable,
        lifecycle: Lifecycle,
        *,
        max_batch: int,
        on_ready: Callable[[], None] | None,
    ) -> None:
        self._endpoints = endpoints
        self._lifecycle = lifecycle
        self._max_batch = max_batch
        self._on_ready = on_ready
        self._make: Callable[[], BasePolicy] | None = None
        # A policy may be callable, too; a class is not a policy.
        if callable(policy) and (isinstance(policy, type) or not hasattr(policy, "get_action")):
            self._make = policy
        else:
            self._serve(cast(BasePolicy, policy))

    def load(self) -> ServedPolicy | None:
        """Make the policy in this thread; None if that fails, which the lifecycle then reports."""
        try:
            if self._make is not None:
                self._serve(self._make())
                logger.info("the policy is loaded")
        except BaseException as error:
            self._lifecycle.loading_failed(error)
            return None
        self._call_on_ready()
        return self._lifecycle.served

    def _serve(self, policy: BasePolicy) -> None:
        served = ServedPolicy.of(policy, self._endpoints, self._max_batch)
        self._lifecycle.policy_loaded(served)

    def _call_on_ready(self) -> None:
        if self._on_ready is None:
            return
        try:
            self._on_ready()
        except BaseException as error:  # the policy is still loaded
            logger.error("on_ready failed: %s", log_text(error))
