# SPDX-License-Identifier: Apache-2.0
"""The configurations of RViz and Foxglove that we ship name topics that our pages have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "config"
PAGES = ("visualization-node", "policy-node", "control-node")


def documented_topics() -> set[str]:
    """The published and subscribed topics of our pages, without the slash before them."""
    topics = set()
    for page in PAGES:
        text = (ROOT / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8")
        for topic in re.findall(r"(?m)^\| `([^`]+)` \| `\w+/msg/", text):
            topics.add(topic.replace("~", page.replace("-", "_")).lstrip("/"))
    return topics


def rviz_topics() -> list[str]:
    layout = yaml.safe_load((CONFIG / "gr00t.rviz").read_text(encoding="utf-8"))
    displays = layout["Visualization Manager"]["Displays"]
    named = (d.get("Topic") or d.get("Description Topic") for d in displays)
    return [topic["Value"] for topic in named if topic]


def foxglove_topics() -> list[str]:
    layout = json.loads((CONFIG / "foxglove-layout.json").read_text(encoding="utf-8"))
    return list(_foxglove_topics(layout["configById"]))


def _foxglove_topics(panels: dict[str, Any]) -> Iterator[str]:
    for panel in panels.values():
        yield from panel.get("topics", {})
        if "imageMode" in panel:
            yield panel["imageMode"]["imageTopic"]
        if "topicPath" in panel:
            yield panel["topicPath"].partition(".")[0]


@pytest.mark.parametrize("topics", [rviz_topics(), foxglove_topics()], ids=["rviz", "foxglove"])
def test_every_topic_is_one_of_ours(topics: list[str]) -> None:
    assert len(topics) > 2
    known = documented_topics()
    for topic in topics:
        name = re.sub(r"^policy_images/\w+/", "policy_images/<camera>/", topic.lstrip("/"))
        assert name in known, topic


def test_every_panel_of_the_foxglove_layout_is_configured() -> None:
    layout = json.loads((CONFIG / "foxglove-layout.json").read_text(encoding="utf-8"))

    def panels(part: Any) -> Iterator[str]:
        if isinstance(part, str):
            yield part
        else:
            yield from panels(part["first"])
            yield from panels(part["second"])

    assert set(panels(layout["layout"])) == set(layout["configById"])
