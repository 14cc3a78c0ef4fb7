# SPDX-License-Identifier: Apache-2.0
"""The one interface that every policy has, local or remote, replayed or learned.

An observation and an action are laid out as `gr00t_policy_core.modality` says. Everything else in
the core is a decorator on `BasePolicy` or an implementation of it.
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
# A capability: what the action configs call RELATIVE is answered as absolute values.
ABSOLUTE_ACTIONS = "absolute_actions"
BatchRule: TypeAlias = Callable[[Observation, "Options | None"], "Hashable | None"]


@dataclass(frozen=True, slots=True)
class BatchWithoutOptions:
    """A `BatchRule`: requests without options are joined.

    Args:
        instruction_key: Of a language whose instruction (the first of each row) must be the same;
            None where they may differ.
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
    """A `BatchRule`: keys, shapes, dtypes and options are all that must be the same."""
    return ()


_client: ContextVar[str] = ContextVar("client", default="")


def current_client() -> str:
    """Whose request is being answered: a text that no other client of the server has.

    Empty where no server asks. A policy that keeps something between requests keeps it by this.
    """
    return _client.get()


class ClientScope:
    """Within, in this thread, `current_client` is this one; for servers, at every request.

    Entered once only.
    """

    __slots__ = ("_client", "_token")

    def __init__(self, client: str) -> None:
        self._client = client

    def __enter__(self) -> None:
        self._token = _client.set(self._client)

    def __exit__(self, *exc_info: object) -> None:
        _client.reset(self._token)


class BasePolicy(ABC):
    """Answers an observation with an action chunk.

    Args:
        strict: Check every observation before it is used and every action before it is returned.
    """

    def __init__(self, strict: bool = True) -> None:
        self.strict = strict

    @property
    def max_batch_size(self) -> int:
        """Most rows that a server may ask for in one call, on behalf of several clients.

        1, the default: every request by itself. A policy whose answer to a row is the same in any
        company, and does not depend on earlier calls, says more, most simply by a class attribute
        ``max_batch_size = 16``. In its info, arrays and lists of B entries are then one for each
        row, and all else concerns every row.
        """
        return 1

    def batch_key(self, observation: Observation, options: Options | None) -> Hashable | None:
        """What requests must have in common to be answered in one call; None: never in company.

        Their keys, shapes but for B, dtypes and options are always the same.
        """
        return batch_all(observation, options)

    def get_batch_rule(self) -> BatchRule | None:
        """`batch_key` for a process that does not have this policy: small, and can be pickled.

        None where only the policy itself can tell; its replicas then answer one request at a time.
        """
        return batch_all if type(self).batch_key is BasePolicy.batch_key else None

    @abstractmethod
    def check_observation(self, observation: Observation) -> None:
        """Raise `SpecError` where the observation is not what this policy reads."""

    @abstractmethod
    def check_action(self, action: Action) -> None:
        """Raise `SpecError` where the action is not what this policy promises."""

    @abstractmethod
    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        """Compute the answer; validation is `get_action`'s part."""

    def get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        """Answer an observation with an action chunk.

        Args:
            observation: ``{"video": {key: uint8 (B, T, H, W, 3) RGB}, "state": {key: float32
                (B, T, D)}, "language": {key: B lists of T strings}}``.
            options: What the policy documents beyond that, for example a seed.

        Returns:
            The action ``{key: float32 (B, horizon, D)}`` in physical units (those of the training
            data), and a dict of further information.

        Raises:
            SpecError: `strict`, and the observation or the answer does not fit.
            PolicyError: The policy could not answer.
        """
        if self.strict:
            self.check_observation(observation)
        action, info = self._get_action(observation, options)
        if self.strict:
            self.check_action(action)
        return action, info

    def reset(self, options: Options | None = None) -> Info:
        """Start a new episode; returns what the policy documents, nothing by default."""
        return {}

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        """The configs by modality: ``video``, ``state``, ``action``, ``language``.

        Empty where a policy does not know them.
        """
        return {}

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        """Values per step of each key: ``{"state": {key: D}, "action": {key: D}}``.

        Isaac-GR00T's modality configs do not tell them. Empty where a policy does not know.
        """
        return {}

    def get_capabilities(self) -> tuple[str, ...]:
        """What the policy can beyond the common interface, for example ``"rtc"``.

        ``"absolute_actions"``: what its action configs call RELATIVE is answered as absolute
        values. Without it, such an answer is refused by a robot.
        ``"rtc"``: ``options["rtc"]`` of `get_action` makes a chunk go on from the present one.
        ``"resize:shortest:256"`` and others: whatever comes is resized so first, as
        `gr00t_policy_core.resize` tells, so that clients may do it.
        """
        return ()


class ModalityPolicy(BasePolicy):
    """A policy that is checked against its own modality configs; subclasses only compute."""

    @abstractmethod
    def get_modality_config(self) -> dict[str, ModalityConfig]:
        """The configs by modality: ``video``, ``state``, ``action``, ``language``."""

    def check_observation(self, observation: Observation) -> None:
        modality.check_observation(observation, self.get_modality_config())

    def check_action(self, action: Action) -> None:
        modality.check_action(action, self.get_modality_config()["action"])


class PolicyWrapper(BasePolicy):
    """A policy around another one: forwards everything; subclasses change what they are for.

    Args:
        policy: The policy that answers.
        strict: Check what goes in and out of this wrapper.
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
