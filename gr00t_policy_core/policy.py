# SPDX-License-Identifier: Apache-2.0
"""The interface of every policy, local or remote, replayed or learned.

`gr00t_policy_core.modality` describes observations and actions. `gr00t_policy_core.testing` checks
that a policy implements the interface.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

from gr00t_policy_core import modality
from gr00t_policy_core.modality import ModalityConfig

Observation: TypeAlias = dict[str, Any]
Action: TypeAlias = dict[str, Any]
Info: TypeAlias = dict[str, Any]
Options: TypeAlias = dict[str, Any]
# A capability: action keys whose config says RELATIVE have absolute values all the same.
ABSOLUTE_ACTIONS = "absolute_actions"
BatchRule: TypeAlias = Callable[[Observation, "Options | None"], "Hashable | None"]


@dataclass(frozen=True, slots=True)
class BatchWithoutOptions:
    """A `BatchRule` that joins requests without options.

    Args:
        instruction_key: Language key whose instruction (the first of each row) must be the same in
            all joined requests; None joins requests with different instructions.
    """

    instruction_key: str | None = None

    def __call__(self, observation: Observation, options: Options | None) -> Hashable | None:
        if options:
            return None
        if self.instruction_key is None:
            return ()
        instructions = {row[0] for row in observation["language"][self.instruction_key]}
        return instructions.pop() if len(instructions) == 1 else None


def batch_all(observation: Observation, options: Options | None) -> Hashable | None:
    """A `BatchRule` that joins all requests with the same keys, shapes, dtypes and options."""
    return ()


_client: ContextVar[str] = ContextVar("client", default="")


def current_client() -> str:
    """The client of the current request: a string that no other client of the server has.

    It is empty outside of a server. A policy with state between requests keeps it for each client.
    """
    return _client.get()


class ClientScope:
    """A context in which `current_client` returns `client`, in this thread. Enter it once.

    Servers enter it for each request.
    """

    __slots__ = ("_client", "_token")

    def __init__(self, client: str) -> None:
        self._client = client

    def __enter__(self) -> None:
        self._token = _client.set(self._client)

    def __exit__(self, *exc_info: object) -> None:
        _client.reset(self._token)


class BasePolicy(ABC):
    """Maps an observation to an action chunk.

    Args:
        strict: Check every observation before it is used and every action before it is returned.
    """

    def __init__(self, strict: bool = True) -> None:
        self.strict = strict

    @property
    def max_batch_size(self) -> int:
        """The maximum number of rows in one call that joins requests of several clients.

        The default of 1 joins none. A policy whose action for a row depends neither on the other
        rows nor on earlier calls may return more, most simply with a class attribute
        ``max_batch_size = 16``. In its info, arrays and lists of B entries then have one entry for
        each row, and all other entries apply to every row.
        """
        return 1

    def batch_key(self, observation: Observation, options: Options | None) -> Hashable | None:
        """A key that requests in one call must share; None for a request that must be alone.

        Requests in one call always have the same keys, shapes except for B, dtypes and options.
        """
        return batch_all(observation, options)

    def get_batch_rule(self) -> BatchRule | None:
        """A small function like `batch_key` that can be pickled, for processes without the policy.

        None if only the policy itself can compute the key; its replicas then join no requests.
        """
        return batch_all if type(self).batch_key is BasePolicy.batch_key else None

    @abstractmethod
    def check_observation(self, observation: Observation) -> None:
        """Raise `SpecError` for an observation that this policy cannot read."""

    @abstractmethod
    def check_action(self, action: Action) -> None:
        """Raise `SpecError` for an action that does not match this policy's modality configs."""

    @abstractmethod
    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        """Compute the action; `get_action` checks observation and action."""

    def get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        """Compute an action chunk.

        Args:
            observation: ``{"video": {key: uint8 (B, T, H, W, 3) RGB}, "state": {key: float32
                (B, T, D)}, "language": {key: B lists of T strings}}``.
            options: Options that the policy documents, for example a seed; None for none.

        Returns:
            The action ``{key: float32 (B, horizon, D)}`` in the physical units of the training
            data, and a dict of further information.

        Raises:
            SpecError: The policy is strict, and the observation or the action is wrong.
            PolicyError: The policy failed to compute an action.
        """
        if self.strict:
            self.check_observation(observation)
        action, info = self._get_action(observation, options)
        if self.strict:
            self.check_action(action)
        return action, info

    def reset(self, options: Options | None = None) -> Info:
        """Start a new episode; returns a dict that the policy documents, empty by default."""
        return {}

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        """The modality configs: ``video``, ``state``, ``action``, ``language``.

        Empty for a policy that does not know them.
        """
        return {}

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        """Values per step of each key: ``{"state": {key: D}, "action": {key: D}}``.

        Isaac-GR00T's modality configs do not contain them. Empty for a policy that does not know
        them.
        """
        return {}

    def get_capabilities(self) -> tuple[str, ...]:
        """Capabilities beyond the common interface.

        ``"absolute_actions"``: action keys whose config says RELATIVE have absolute values. Robots
        reject RELATIVE actions of a policy without it.
        ``"rtc"``: ``options["rtc"]`` of `get_action` makes a chunk continue the current one.
        ``"resize:shortest:256"`` and others of `gr00t_policy_core.resize`: the policy resizes
        frames so first, and a client may do it instead.
        """
        return ()


class ModalityPolicy(BasePolicy):
    """A policy that checks observations and actions against its modality configs.

    Subclasses implement `get_modality_config` and `_get_action`.
    """

    @abstractmethod
    def get_modality_config(self) -> dict[str, ModalityConfig]:
        """The modality configs: ``video``, ``state``, ``action``, ``language``."""

    def check_observation(self, observation: Observation) -> None:
        modality.check_observation(observation, self.get_modality_config())

    def check_action(self, action: Action) -> None:
        modality.check_action(action, self.get_modality_config()["action"])


class PolicyWrapper(BasePolicy):
    """A policy that forwards every call to another one; subclasses override some methods.

    Args:
        policy: The policy that computes the actions.
        strict: Check observations and actions of the wrapper itself.
    """

    def __init__(self, policy: BasePolicy, strict: bool = True) -> None:
        super().__init__(strict)
        self.policy = policy

    def check_observation(self, observation: Observation) -> None:
        self.policy.check_observation(observation)

    def check_action(self, action: Action) -> None:
        self.policy.check_action(action)

    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        return self.policy.get_action(observation, options)

    def reset(self, options: Options | None = None) -> Info:
        return self.policy.reset(options)

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return self.policy.get_modality_config()

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        return self.policy.get_dimensions()

    def get_capabilities(self) -> tuple[str, ...]:
        return self.policy.get_capabilities()

    @property
    def max_batch_size(self) -> int:
        return self.policy.max_batch_size

    def batch_key(self, observation: Observation, options: Options | None) -> Hashable | None:
        return self.policy.batch_key(observation, options)

    def get_batch_rule(self) -> BatchRule | None:
        own = type(self).batch_key is not PolicyWrapper.batch_key
        return None if own else self.policy.get_batch_rule()
