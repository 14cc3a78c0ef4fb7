# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that a test changes: loaded, edited, cut into shards."""

import json
from pathlib import Path

import numpy as np
from models.golden import Gr00tPolicy
from safetensors.torch import load_file, save_file


def load(golden, folder: Path, tag: str | None = None, **settings) -> Gr00tPolicy:
    settings = {"device": "cpu", "backbone_path": golden.backbone, **settings}
    return Gr00tPolicy(tag or golden.tag, folder, **settings)


def edit(file: Path, change) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def rename_tag(content: dict, old: str, new: str) -> None:
    options = content.get("processor_kwargs")
    rename(options["modality_configs"] if options else content, old, new)


def rename(content: dict, old: str, new: str) -> None:
    content[new] = content.pop(old)


def shard(folder: Path) -> None:
    """Split the weights in two files and an index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    shards = {
        "model-00001-of-00002.safetensors": names[::2],
        "model-00002-of-00002.safetensors": names[1::2],
    }
    for file, part in shards.items():
        save_file({name: weights[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def assert_same_answer(policy: Gr00tPolicy, golden) -> None:
    action, _ = policy.get_action(golden.observation("one"), {"seed": golden.seed})
    for key, values in golden.group("one", "action").items():
        np.testing.assert_allclose(action[key], values, atol=1e-4 * np.abs(values).max())
