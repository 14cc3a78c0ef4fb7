# SPDX-License-Identifier: Apache-2.0
"""A conformance suite for implementations of `gr00t_policy_core.BasePolicy`.

It holds a policy to the contract that `BasePolicy` documents: the shapes, dtypes and keys of its
actions, what it says about itself, and that it rejects wrong observations by name. It needs no test
framework. To test a policy of your own with pytest, give a policy and a function that makes valid
observations:

```python
import numpy as np
import pytest

from gr00t_policy_core import testing
from my_package import MyPolicy


def make_observation(batch_size):
    return {
        "video": {"front": np.zeros((batch_size, 1, 480, 640, 3), np.uint8)},
        "state": {"arm": np.zeros((batch_size, 1, 6), np.float32)},
        "language": {"task": [["pick up the cube"]] * batch_size},
    }


@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
def test_my_policy(check):
    check(MyPolicy(), make_observation)
```

`check_policy(MyPolicy(), make_observation)` runs all checks in one call. Each check raises
`AssertionError`, which says what the policy did and what the contract asks for. The checks call
`reset` and `get_action`, so test a policy that no other client uses.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeAlias

import numpy as np

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import OBSERVATION_MODALITIES, ModalityConfig
from gr00t_policy_core.policy import Action, BasePolicy, Observation

# Makes a valid observation of the policy for a batch size.
ObservationFactory: TypeAlias = Callable[[int], Observation]
Check: TypeAlias = Callable[[BasePolicy, ObservationFactory], None]

BATCH_SIZES = (1, 3)

_MISSING = object()


def check_policy(policy: BasePolicy, make_observation: ObservationFactory) -> None:
    """Run every check of `CHECKS` on a policy.

    Args:
        policy: A strict policy that no other client uses meanwhile.
        make_observation: Returns a new valid observation for a batch size.

    Raises:
        AssertionError: The policy breaks the contract; the message says how.
    """
    for check in CHECKS:
        check(policy, make_observation)


def check_modality_configs(policy: BasePolicy, make_observation: ObservationFactory) -> None:
    """The modality configs contain ``action``, and the observations match the others."""
    configs = policy.get_modality_config()
    for modality, config in configs.items():
        _require(
            isinstance(config, ModalityConfig),
            f"get_modality_config()[{modality!r}] must be a ModalityConfig, got {config!r:.80}",
        )
    _require("action" in configs, f"get_modality_config() has no 'action', only {list(configs)}")
    observation = make_observation(1)
    for modality in OBSERVATION_MODALITIES:
        expected = configs[modality].modality_keys if modality in configs else []
        _require(
            set(observation.get(modality, {})) >= set(expected),
            f"make_observation gives the {modality} keys {list(observation.get(modality, {}))}, "
            f"get_modality_config() asks for {expected}",
        )


def check_actions(policy: BasePolicy, make_observation: ObservationFactory) -> None:
    """An action has every key as finite float32 (B, horizon, D), for several batch sizes."""
    config = policy.get_modality_config()["action"]
    horizon = len(config.delta_indices)
    policy.reset()
    for batch_size in BATCH_SIZES:
        result: Any = policy.get_action(make_observation(batch_size))
        _require(
            isinstance(result, tuple) and len(result) == 2,
            f"get_action must return (action, info), got {type(result).__name__}",
        )
        action, info = result
        _require(isinstance(info, dict), f"info must be a dict, got {type(info).__name__}")
        _require(
            set(action) == set(config.modality_keys),
            f"the action has the keys {list(action)}, get_modality_config() says "
            f"{config.modality_keys}",
        )
        for key, values in action.items():
            _check_action_values(key, values, (batch_size, horizon))
        _accept(policy, action)


def check_dimensions(policy: BasePolicy, make_observation: ObservationFactory) -> None:
    """Dimensions that the policy states are those of its states and actions."""
    dimensions = policy.get_dimensions()
    observation = make_observation(1)
    action, _ = policy.get_action(observation)
    for modality, arrays in (("state", observation.get("state", {})), ("action", action)):
        for key, dimension in dimensions.get(modality, {}).items():
            _require(
                key in arrays,
                f"get_dimensions() states {modality}.{key}, which has no values; there are "
                f"{list(arrays)}",
            )
            _require(
                arrays[key].shape[2] == dimension,
                f"get_dimensions() says that {modality}.{key} has {dimension} values per step, "
                f"its array has shape {arrays[key].shape}",
            )


def check_batching(policy: BasePolicy, make_observation: ObservationFactory) -> None:
    """The largest batch size is positive, and batch keys are hashable."""
    size: Any = policy.max_batch_size
    _require(
        isinstance(size, int) and not isinstance(size, bool) and size >= 1,
        f"max_batch_size must be an integer of at least 1, got {size!r}",
    )
    key = policy.batch_key(make_observation(1), None)
    _require(isinstance(key, Hashable), f"batch_key must return a hashable value, got {key!r:.80}")
    rule = policy.get_batch_rule()
    _require(
        rule is None or callable(rule),
        f"get_batch_rule must return a function or None, got {rule!r:.80}",
    )


def check_capabilities(policy: BasePolicy, make_observation: ObservationFactory) -> None:
    """Capabilities are a tuple of strings."""
    capabilities: Any = policy.get_capabilities()
    _require(
        isinstance(capabilities, tuple) and all(isinstance(name, str) for name in capabilities),
        f"get_capabilities must return a tuple of strings, got {capabilities!r:.80}",
    )


def check_reset(policy: BasePolicy, make_observation: ObservationFactory) -> None:
    """`reset` returns a dict, accepts ``options=None``, and the policy acts after it."""
    for info in (policy.reset(), policy.reset(options=None)):
        _require(isinstance(info, dict), f"reset must return a dict, got {type(info).__name__}")
    policy.get_action(make_observation(1))


def check_observation_is_unchanged(
    policy: BasePolicy, make_observation: ObservationFactory
) -> None:
    """The policy does not write to an observation, and its action shares no memory with it."""
    policy.reset()
    observation = make_observation(1)
    before = copy.deepcopy(observation)
    action, _ = policy.get_action(observation)
    changed = [name for name, same in _compared(observation, before) if not same]
    _require(not changed, f"get_action changed the observation: {changed}")
    answer = copy.deepcopy(action)
    for entries in observation.values():
        for value in entries.values():
            if isinstance(value, np.ndarray):
                value[:] = 7
    for key, values in action.items():
        _require(
            np.array_equal(values, answer[key]),
            f"action.{key} shares memory with the observation: return a copy",
        )


def check_rejections(policy: BasePolicy, make_observation: ObservationFactory) -> None:
    """Each wrong observation raises `SpecError` with the key's name; the policy acts after it."""
    _require(policy.strict, "the policy is not strict: construct it with strict=True")
    configs = policy.get_modality_config()
    read = [modality for modality in OBSERVATION_MODALITIES if modality in configs]
    is_alone = sum(len(configs[modality].modality_keys) for modality in read) == 1
    for modality in read:
        keys = configs[modality].modality_keys
        for key in keys:
            good = make_observation(2)[modality][key]
            for fault, value in _wrong_values(modality, good, is_alone=is_alone):
                observation = make_observation(2)
                if value is _MISSING:
                    del observation[modality][key]
                else:
                    observation[modality][key] = value
                name = key if modality == "language" else f"{modality}.{key}"
                _require_rejection(policy, observation, f"{modality}.{key}: {fault}", [name])
        observation = make_observation(1)
        del observation[modality]
        _require_rejection(policy, observation, f"no {modality!r}", [modality, *keys])
    nothing: Any = None
    _require_rejection(policy, nothing, "None", [""])
    policy.get_action(make_observation(1))


CHECKS: tuple[Check, ...] = (
    check_modality_configs,
    check_actions,
    check_dimensions,
    check_batching,
    check_capabilities,
    check_reset,
    check_observation_is_unchanged,
    check_rejections,
)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _check_action_values(key: str, values: Any, shape: tuple[int, int]) -> None:
    """Raise `AssertionError` unless `values` is finite float32 of shape (*shape, D)."""
    expected = f"action.{key} must be float32 ({shape[0]}, {shape[1]}, D)"
    _require(isinstance(values, np.ndarray), f"{expected}, got {type(values).__name__}")
    _require(values.dtype == np.float32, f"{expected}, got dtype {values.dtype}")
    _require(
        values.ndim == 3 and values.shape[:2] == shape, f"{expected}, got shape {values.shape}"
    )
    _require(bool(np.isfinite(values).all()), f"action.{key} has values that are not finite")


def _accept(policy: BasePolicy, action: Action) -> None:
    try:
        policy.check_action(action)
    except SpecError as error:
        raise AssertionError(f"check_action rejects the policy's own action: {error}") from error


def _require_rejection(
    policy: BasePolicy, observation: Observation, fault: str, names: list[str]
) -> None:
    """Raise `AssertionError` unless the policy raises `SpecError` with one of the names."""
    try:
        policy.get_action(observation)
    except SpecError as error:
        text = str(error)
        _require(
            any(name in text for name in names),
            f"the SpecError for a wrong observation ({fault}) must name {' or '.join(names)}, "
            f"got {text!r}",
        )
    except Exception as error:
        raise AssertionError(
            f"a wrong observation ({fault}) must raise SpecError, got {error!r}"
        ) from error
    else:
        raise AssertionError(f"the policy accepts a wrong observation ({fault})")


def _compared(observation: Observation, before: Observation) -> Iterator[tuple[str, bool]]:
    """Each entry's name, and whether it has the same value as before."""
    yield "its modalities", observation.keys() == before.keys()
    for modality, entries in before.items():
        now = observation.get(modality, {})
        yield f"the keys of {modality}", now.keys() == entries.keys()
        for key, value in entries.items():
            yield f"{modality}.{key}", bool(np.array_equal(now.get(key), value))


def _wrong_values(modality: str, good: Any, *, is_alone: bool) -> Iterator[tuple[str, Any]]:
    """Wrong replacements for a valid value of batch size 2, each with the name of its fault.

    The batch size of a key that is the only one cannot be wrong.
    """
    yield "missing", _MISSING
    yield "None", None
    if modality == "language":
        yield "a string", "pick"
        yield "a list of strings", ["pick", "pick"]
        yield "numbers instead of prompts", [[1], [2]]
        yield "too many time steps", [[*row, "more"] for row in good]
    else:
        yield "a nested list", good.tolist() if modality == "state" else [[0]]
        yield "dtype float64", good.astype(np.float64)
        yield "no batch axis", good[0]
        yield "too many time steps", np.repeat(good, 2, axis=1)
        yield "an empty last axis", good[..., :0]
    if not is_alone:
        yield "another batch size", good[:1]
