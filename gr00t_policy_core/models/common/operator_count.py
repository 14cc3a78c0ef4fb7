# SPDX-License-Identifier: Apache-2.0
"""Counts the operators of a computation, which is its launch cost on any device.

Most of GR00T's operators are small at batch 1. If the host launches them one by one, their number
says more about the time on a GPU than their sizes; and it is the same on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

NO_KERNEL = ("aten.detach", "aten.empty", "aten.lift_fresh")


class OperatorCount(TorchDispatchMode):
    """Counts operators within its context; views do not count.

    In inference mode each function of torch counts as one operator: a linear layer, a norm,
    attention.

    Attributes:
        total: The number of operators so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self,
        operator: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = operator(*args, **(kwargs or {}))
        if not str(operator).startswith(NO_KERNEL):
            in_place = operator._schema.is_mutable  # type: ignore[attr-defined]
            self.total += in_place or not _memories(result) <= _memories((args, kwargs))
        return result


def _memories(values: Any) -> set[int]:
    return {v.untyped_storage()._cdata for v in tree_leaves(values) if isinstance(v, Tensor)}
