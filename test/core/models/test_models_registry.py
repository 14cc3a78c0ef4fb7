# SPDX-License-Identifier: Apache-2.0
"""Another line of the model is another folder, and nothing else."""

import dataclasses
import json
import sys

import pytest
from models.golden import golden_of

from gr00t_policy_core import CheckpointError, models
from gr00t_policy_core.models import registry
from gr00t_policy_core.models.common.checkpoint_formats import open_checkpoint
from gr00t_policy_core.models.registry import find_loader, find_random_builder, known_lines

NEXT = """
def load(checkpoint, tag, *, device, dtype, backbone_path):
    return "loaded"


def random_model(*, small, cameras, device, dtype):
    return "random"
"""


@pytest.fixture
def another_line(tmp_path, monkeypatch):
    folder = tmp_path / "gr00t_n2d0"
    folder.mkdir()
    (folder / "__init__.py").write_text(NEXT)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "FOLDERS", [*registry.FOLDERS, str(tmp_path)])
    yield
    sys.modules.pop("gr00t_policy_core.models.gr00t_n2d0", None)


def of_type(model_type):
    checkpoint = open_checkpoint(golden_of("gr00t_n1d7/c").checkpoint)
    return dataclasses.replace(checkpoint, config={"model_type": model_type})


@pytest.mark.usefixtures("another_line")
def test_a_folder_beside_the_others_is_a_line():
    settings = {"device": None, "dtype": None}
    assert known_lines() == ["gr00t_n1d6", "gr00t_n1d7", "gr00t_n2d0"]
    load = find_loader(of_type("Gr00tN2d0"))
    assert load(None, "tag", backbone_path=None, **settings) == "loaded"
    assert find_random_builder("n2d0")(small=True, cameras=1, **settings) == "random"


@pytest.mark.parametrize("model_type", ["Gr00tN2d0", None, 7, json.dumps({})])
def test_what_is_no_folder_is_no_line(model_type):
    with pytest.raises(CheckpointError, match=r"model_type .*'gr00t_n1d6', 'gr00t_n1d7'"):
        find_loader(of_type(model_type))
