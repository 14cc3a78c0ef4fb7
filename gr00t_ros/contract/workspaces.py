# SPDX-License-Identifier: Apache-2.0
"""The workspaces of a contract: what the tip of an arm never leaves. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gr00t_policy_core.control.workspace import Side
from gr00t_ros.contract.limits import floats
from gr00t_ros.contract.parameter import Settings
from gr00t_ros.contract.workspace_sides import sides_of, sides_problems, size_problems


@dataclass(frozen=True, slots=True)
class WorkspaceSettings:
    """One workspace: the tool at `tip` stays inside of `sides`, in the frame of `base`.

    Args:
        key: Names it in the parameters.
        base: The link in whose frame box and floor are given.
        tip: The link that carries the tool.
        tool: The pose of the tool in the tip: x y z, m, and a quaternion x y z w.
        sides: Box and floor.
    """

    key: str
    base: str
    tip: str
    tool: tuple[float, ...]
    sides: tuple[Side, ...]

    @property
    def name(self) -> str:
        return f"workspace.{self.key}"

    @classmethod
    def of(cls, key: str, settings: Settings) -> WorkspaceSettings:
        """Make it from its parameters by short name, without `workspace_problems`."""
        return cls(
            key=key,
            base=settings["base"],
            tip=settings["tip"],
            tool=floats(settings["tool"]),
            sides=sides_of(settings),
        )


def workspace_problems(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each problem with one workspace.

    Args:
        settings: Its parameters by short name.
    """
    wrong = [*size_problems(settings, {"tool": 7}), *sides_problems(settings)]
    yield from wrong
    if wrong:
        return
    if not any(floats(settings["tool"])[3:]):
        yield "tool: a quaternion of norm 0 is not a rotation"
    if not sides_of(settings):
        yield "has neither a box nor a floor: give box_min, box_max or floor"
