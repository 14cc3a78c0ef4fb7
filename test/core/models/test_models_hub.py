# SPDX-License-Identifier: Apache-2.0
"""Files of the Hugging Face hub: from the local cache where that has all of them."""

import fnmatch
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from models.checkpoints import shard
from models.golden import golden_of, huggingface_hub

from gr00t_policy_core import CheckpointError
from gr00t_policy_core.models import Gr00tPolicy
from gr00t_policy_core.models.common.checkpoint_folder import needed_files
from gr00t_policy_core.models.common.checkpoint_formats import open_checkpoint


class Hub:
    """Stands in for the hub and its cache; `fetched` holds what was downloaded, by repository.

    Args:
        cached: Folders of the cache, by repository.
        online: Folders that stand for repositories of the hub.
        to: Where downloads go.
    """

    def __init__(self, cached: dict[str, Path], online: dict[str, Path], to: Path):
        self.cached, self.online, self.to = cached, online, to
        self.listed: list[str] = []
        self.fetched: dict[str, list[str]] = {}

    def model_info(self, repository, *, files_metadata):
        self.listed.append(repository)
        assert files_metadata, "without it the hub tells no sizes"
        if repository not in self.online:
            raise ConnectionError(f"nobody has {repository}")
        root = self.online[repository]
        files = [
            SimpleNamespace(rfilename=str(file.relative_to(root)), size=file.stat().st_size)
            for file in sorted(root.rglob("*"))
            if file.is_file()
        ]
        return SimpleNamespace(sha="5a5a", siblings=files)

    def snapshot_download(
        self, repository, *, revision=None, allow_patterns=None, local_files_only=False
    ):
        if local_files_only:
            if repository not in self.cached:
                raise huggingface_hub.errors.LocalEntryNotFoundError("not there")
            return str(self.cached[repository])
        assert revision == "5a5a", "what is fetched is what was listed"
        root = self.online[repository]
        files = [
            str(file.relative_to(root))
            for file in sorted(root.rglob("*"))
            if file.is_file()
            and any(fnmatch.fnmatch(str(file.relative_to(root)), p) for p in allow_patterns)
        ]
        for file in files:
            target = self.to / repository / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / file, target)
        self.fetched[repository] = files
        return str(self.to / repository)


CHECKPOINT = "robot/checkpoint"
BACKBONE = "nvidia/Cosmos-Reason2-tiny"
FILES = [
    "config.json",
    "embodiment_id.json",
    "model.safetensors",
    "processor_config.json",
    "statistics.json",
]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    def make(cached, online=None):
        made = Hub(cached, online or {}, tmp_path / "downloads")
        monkeypatch.setattr(huggingface_hub, "snapshot_download", made.snapshot_download)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
        return made

    return make


def test_a_checkpoint_and_its_backbone_come_from_the_cache_without_asking_the_hub(n1d7, hub):
    made = hub({CHECKPOINT: n1d7.checkpoint, BACKBONE: n1d7.backbone})
    policy = Gr00tPolicy(n1d7.tag, CHECKPOINT, device="cpu")
    policy.get_action(n1d7.observation("one"))
    assert made.listed == []


def test_what_the_cache_has_only_a_part_of_comes_from_the_hub(n1d7, hub, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    part = {CHECKPOINT: tmp_path, BACKBONE: tmp_path}
    made = hub(part, {CHECKPOINT: n1d7.checkpoint, BACKBONE: n1d7.backbone})
    Gr00tPolicy(n1d7.tag, CHECKPOINT, device="cpu")
    assert made.listed == [CHECKPOINT, BACKBONE]
    assert made.fetched[CHECKPOINT] == FILES


@pytest.mark.parametrize("missing", ["config.json", "statistics.json", "model.safetensors"])
def test_a_checkpoint_that_the_cache_has_only_a_part_of_is_completed(n1d7, hub, damaged, missing):
    folder = damaged(n1d7)
    (folder / missing).unlink()
    made = hub({CHECKPOINT: folder}, {CHECKPOINT: n1d7.checkpoint})
    open_checkpoint(CHECKPOINT)
    assert made.fetched == {CHECKPOINT: FILES}


class TestOfARepository:
    @pytest.fixture
    def repository(self, n1d7, tmp_path):
        """Checkpoints in sub-folders, and what lies around in such repositories."""
        root = tmp_path / "repository"
        for name in ("libero_10", "libero_goal"):
            shutil.copytree(n1d7.checkpoint, root / name)
            (root / name).chmod(0o755)
            for extra in ("optimizer.safetensors", "model_ema.safetensors", "training.log"):
                (root / name / extra).write_bytes(b"x" * 1000)
            (root / name / "checkpoint-1000").mkdir()
            (root / name / "checkpoint-1000" / "model.safetensors").write_bytes(b"x" * 1000)
        return root

    def test_exactly_the_needed_files_of_a_folder_are_fetched(self, n1d7, hub, repository, caplog):
        made = hub({}, {"nvidia/libero": repository})
        with caplog.at_level(logging.INFO):
            checkpoint = open_checkpoint("nvidia/libero/libero_10")
        assert made.fetched == {"nvidia/libero": [f"libero_10/{name}" for name in FILES]}
        assert checkpoint.folder.name == "libero_10"
        size_mb = sum((n1d7.checkpoint / name).stat().st_size for name in FILES) / 1e6
        assert f"downloading 5 files, {size_mb:.3g} MB, of nvidia/libero/libero_10" in caplog.text

    def test_a_folder_comes_from_the_cache_without_asking_the_hub(self, hub, repository):
        made = hub({"nvidia/libero": repository})
        open_checkpoint("nvidia/libero/libero_goal")
        assert made.listed == []

    def test_the_shards_are_fetched_where_there_is_no_single_file(self, hub, repository):
        shard(repository / "libero_10")
        made = hub({}, {"nvidia/libero": repository})
        open_checkpoint("nvidia/libero/libero_10")
        weights = [name for name in made.fetched["nvidia/libero"] if ".safetensors" in name]
        assert weights == [
            "libero_10/model-00001-of-00002.safetensors",
            "libero_10/model-00002-of-00002.safetensors",
            "libero_10/model.safetensors.index.json",
        ]

    @pytest.mark.parametrize("given", ["nvidia/libero", "nvidia/libero/libero_11"])
    def test_without_a_checkpoint_there_its_folders_are_named_and_nothing_is_fetched(
        self, hub, repository, given
    ):
        made = hub({}, {"nvidia/libero": repository})
        named = f"{given}: has no config.json .*nvidia/libero/libero_10, nvidia/libero/libero_goal"
        with pytest.raises(CheckpointError, match=named):
            open_checkpoint(given)
        assert made.fetched == {}


@pytest.mark.parametrize(
    ("there", "needed"),
    [
        (
            [
                "config.json",
                "model.safetensors",
                "policy_postprocessor.json",
                "policy_preprocessor.json",
                "policy_preprocessor_step_2_groot_n1_7_pack_inputs_v1.safetensors",
                "train_config.json",
            ],
            True,
        ),
        (["adapter_config.json", "adapter_model.safetensors", "config.json"], True),
        (["model-00001-of-00002.safetensors", "model.safetensors.index.json"], True),
        (["optimizer.safetensors", "pytorch_model.bin", "README.md", "events/x.json"], False),
    ],
)
def test_what_is_needed_of_each_kind_of_checkpoint(there, needed):
    assert needed_files(dict.fromkeys(there, 1)) == (there if needed else [])


def test_the_shards_beside_a_single_file_are_not_fetched():
    there = [
        "model-00001-of-00002.safetensors",
        "model.safetensors",
        "model.safetensors.index.json",
    ]
    assert needed_files(dict.fromkeys(there, 1)) == ["model.safetensors"]


@pytest.mark.parametrize("given", ["./robot/checkpoint", "~/robot/x", "a//b", "robot", "/a/b"])
def test_a_path_is_never_taken_for_an_id_of_the_hub(hub, given):
    made = hub({})
    with pytest.raises(CheckpointError, match="there is no such folder"):
        open_checkpoint(given)
    assert made.listed == []


def test_a_folder_of_the_hubs_cache_is_answered_with_its_snapshot(n1d7, tmp_path):
    cache = tmp_path / "models--robot--checkpoint"
    shutil.copytree(n1d7.checkpoint, cache / "snapshots" / "5a5a")
    with pytest.raises(
        CheckpointError, match=f"of the hub: set model_path to {cache}/snapshots/5a5a"
    ):
        open_checkpoint(cache)


def test_weights_of_the_backbone_are_never_fetched(n1d7, hub, tmp_path):
    online = tmp_path / "backbone"
    shutil.copytree(n1d7.backbone, online)
    online.chmod(0o755)
    (online / "model.safetensors").write_bytes(b"x")
    made = hub({}, {BACKBONE: online})
    Gr00tPolicy(n1d7.tag, n1d7.checkpoint, device="cpu")
    assert made.fetched[BACKBONE] == sorted(file.name for file in n1d7.backbone.iterdir())


def test_what_nobody_has_is_named(hub):
    hub({})
    with pytest.raises(
        CheckpointError, match=f"{CHECKPOINT}: is not a folder, and cannot be downloaded"
    ):
        open_checkpoint(CHECKPOINT)


def test_the_backbone_of_n1d6_is_not_looked_for_on_the_hub(hub):
    golden = golden_of("gr00t_n1d6/c")
    made = hub({})
    with pytest.raises(CheckpointError, match="clone https://github"):
        Gr00tPolicy(golden.tag, golden.checkpoint, device="cpu")
    assert made.listed == []
