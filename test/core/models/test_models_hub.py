# SPDX-License-Identifier: Apache-2.0
"""Files of the Hugging Face hub: from the local cache where that has all of them."""

from pathlib import Path

import pytest
from models.golden import golden_of, huggingface_hub

from gr00t_policy_core import CheckpointError
from gr00t_policy_core.models import Gr00tPolicy
from gr00t_policy_core.models.common.checkpoint import open_checkpoint


class Hub:
    """Stands in for `snapshot_download`: what is cached, what is online, and what was asked."""

    def __init__(self, cached: dict[str, Path], online: dict[str, Path]):
        self.places = {True: cached, False: online}
        self.asked: list[tuple[str, bool]] = []

    def __call__(self, repository, *, allow_patterns, local_files_only=False):
        self.asked.append((repository, local_files_only))
        assert not any("bin" in pattern for pattern in allow_patterns)
        if repository not in self.places[local_files_only]:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not there")
        return str(self.places[local_files_only][repository])


CHECKPOINT = "robot/checkpoint"
BACKBONE = "nvidia/Cosmos-Reason2-tiny"


@pytest.fixture
def hub(monkeypatch):
    def make(cached, online=None):
        made = Hub(cached, online or {})
        monkeypatch.setattr(huggingface_hub, "snapshot_download", made)
        return made

    return make


def test_a_checkpoint_and_its_backbone_come_from_the_cache_without_asking_the_hub(n1d7, hub):
    asked = hub({CHECKPOINT: n1d7.checkpoint, BACKBONE: n1d7.backbone}).asked
    policy = Gr00tPolicy(n1d7.tag, CHECKPOINT, device="cpu")
    policy.get_action(n1d7.observation("one"))
    assert asked == [(CHECKPOINT, True), (BACKBONE, True)]


def test_what_the_cache_has_only_a_part_of_comes_from_the_hub(n1d7, hub, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    part = {CHECKPOINT: tmp_path, BACKBONE: tmp_path}
    asked = hub(part, {CHECKPOINT: n1d7.checkpoint, BACKBONE: n1d7.backbone}).asked
    Gr00tPolicy(n1d7.tag, CHECKPOINT, device="cpu")
    assert asked == [(name, local) for name in (CHECKPOINT, BACKBONE) for local in (True, False)]


@pytest.mark.parametrize("missing", ["config.json", "statistics.json", "model.safetensors"])
def test_a_checkpoint_that_the_cache_has_only_a_part_of_is_completed(n1d7, hub, damaged, missing):
    folder = damaged(n1d7)
    (folder / missing).unlink()
    asked = hub({CHECKPOINT: folder}, {CHECKPOINT: n1d7.checkpoint}).asked
    open_checkpoint(CHECKPOINT)
    assert asked == [(CHECKPOINT, True), (CHECKPOINT, False)]


def test_weights_of_the_backbone_are_never_asked_for(n1d7, hub, monkeypatch):
    made = hub({BACKBONE: n1d7.backbone})
    patterns = []

    def download(repository, *, allow_patterns, local_files_only=False):
        patterns.extend(allow_patterns)
        return made(repository, allow_patterns=allow_patterns, local_files_only=local_files_only)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    Gr00tPolicy(n1d7.tag, n1d7.checkpoint, device="cpu")
    assert patterns == ["*.json", "*.txt", "*.jinja"]


def test_what_nobody_has_is_named(hub):
    hub({})
    with pytest.raises(CheckpointError, match=f"{CHECKPOINT}: is no folder, and the Hugging Face"):
        open_checkpoint(CHECKPOINT)


def test_the_backbone_of_n1d6_is_not_looked_for_on_the_hub(hub):
    golden = golden_of("gr00t_n1d6/a")
    asked = hub({}).asked
    with pytest.raises(CheckpointError, match="clone https://github"):
        Gr00tPolicy(golden.tag, golden.checkpoint, device="cpu")
    assert asked == []
