# SPDX-License-Identifier: Apache-2.0
"""What gr00t_ros knows of an episode beside its messages: task, outcome, configuration. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

SUCCESS, FAILURE, UNKNOWN = "success", "failure", "unknown"
OUTCOMES = (SUCCESS, FAILURE, UNKNOWN)

LAYOUT = "1"
PREFIX = "gr00t_ros."  # of the keys in a bag's custom data, which others may use, too

WHOLE_FOLDER = "episode_{number:06d}"
TRUNCATED_SUFFIX = ".truncated"
PARTIAL_SUFFIX = ".partial"

UNFINISHED = "the recorder ended before the episode did"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeInfo:
    """An episode in a bag's custom data.

    Args:
        task: What was demonstrated, the instruction of a policy.
        outcome: One of `OUTCOMES`.
        notes: Free text of the operator.
        truncated: What of the episode is missing, and why; empty for a whole episode.
        config: The parameters of the contract as a parameter file, topics by their full names.
        versions: Version by name of the software that recorded.
        started_ns: Start by the recorder's clock, ns; 0 where it is not known.
        ended_ns: End by the recorder's clock, ns; 0 where it is not known.
        dropped: Messages that are known to be lost, by topic; only topics that lost any.
    """

    task: str = ""
    outcome: str = UNKNOWN
    notes: str = ""
    truncated: str = UNFINISHED
    config: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    started_ns: int = 0
    ended_ns: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether the episode was recorded to its end."""
        return not self.truncated

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters in `config` by full name, as `parse_contract` takes them.

        Raises:
            ValueError: `config` is not a parameter file.
        """
        if not self.config:
            return {}
        try:
            return dict(yaml.safe_load(self.config)["/**"]["ros__parameters"])
        except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the configuration in the bag is damaged: {error!r}") from error

    def as_custom_data(self) -> dict[str, str]:
        """The entries of a bag's custom data."""
        texts = {
            "layout": LAYOUT,
            "task": self.task,
            "outcome": self.outcome,
            "notes": self.notes,
            "truncated": self.truncated,
            "config": self.config,
            "versions": _yaml(self.versions),
            "started_ns": str(self.started_ns),
            "ended_ns": str(self.ended_ns),
            "dropped": _yaml(self.dropped),
        }
        return {f"{PREFIX}{name}": text for name, text in texts.items()}

    @classmethod
    def from_custom_data(cls, custom_data: Mapping[str, str]) -> EpisodeInfo:
        """Read the entries of a bag's custom data.

        Raises:
            ValueError: The bag has no entries of gr00t_ros, or some that this version cannot read.
        """
        texts = {
            str(name).removeprefix(PREFIX): text
            for name, text in custom_data.items()
            if str(name).startswith(PREFIX)
        }
        for name, text in texts.items():
            if not isinstance(text, str):
                raise ValueError(f"the bag's custom data is damaged: {PREFIX}{name} is not text")
        layout = texts.get("layout")
        if layout != LAYOUT:
            what = "no episode of gr00t_ros" if layout is None else f"an episode of layout {layout}"
            raise ValueError(f"the bag holds {what}; this version reads layout {LAYOUT}")
        try:
            return cls(
                task=texts["task"],
                outcome=_outcome(texts["outcome"]),
                notes=texts["notes"],
                truncated=texts["truncated"],
                config=texts["config"],
                versions=_mapping(texts["versions"]),
                started_ns=int(texts["started_ns"]),
                ended_ns=int(texts["ended_ns"]),
                dropped=_mapping(texts["dropped"]),
            )
        except KeyError as error:
            raise ValueError(f"the bag's custom data lacks {PREFIX}{error.args[0]}") from None
        except yaml.YAMLError as error:
            raise ValueError(f"the bag's custom data is damaged: {error}") from None


def config_text(parameters: Mapping[str, Any]) -> str:
    """Write parameters by full name as a parameter file that ROS reads.

    Args:
        parameters: Values by full name, such as ``video.front.topic``.
    """
    return _yaml({"/**": {"ros__parameters": dict(parameters)}})


def _outcome(text: str) -> str:
    if text not in OUTCOMES:
        raise ValueError(f"outcome {text!r} is none of {', '.join(OUTCOMES)}")
    return text


def _mapping(text: str) -> dict[str, Any]:
    content = yaml.safe_load(text)
    if not isinstance(content, dict):
        raise ValueError(f"the bag's custom data is damaged: {text!r} is not a mapping")
    return content


def _yaml(content: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)
    return text
