# SPDX-License-Identifier: Apache-2.0
"""Where a checkpoint's files may be, and what in them counts."""

import pytest
from models.checkpoints import assert_same_answer, edit, load, rename, rename_tag, shard
from models.golden import golden_of

from gr00t_policy_core import EmbodimentTag


class TestWhereFilesMayBe:
    def test_sharded_weights_are_read(self, n1d7, damaged):
        folder = damaged(n1d7)
        shard(folder)
        assert_same_answer(load(n1d7, folder), n1d7)

    def test_the_processors_files_may_be_in_a_folder_of_their_own(self, n1d7, damaged):
        folder = damaged(n1d7)
        (folder / "processor").mkdir()
        for name in ("processor_config.json", "statistics.json", "embodiment_id.json"):
            (folder / name).rename(folder / "processor" / name)
        assert_same_answer(load(n1d7, folder), n1d7)

    def test_without_embodiment_ids_the_lines_own_numbering_holds(self, golden, damaged):
        folder = damaged(golden)
        (folder / "embodiment_id.json").unlink()
        assert_same_answer(load(golden, folder), golden)

    def test_embodiment_ids_win_over_the_lines_own_numbering(self, n1d7, damaged):
        folder = damaged(n1d7)
        edit(folder / "embodiment_id.json", lambda ids: ids.update({n1d7.tag: 3}))
        assert load(n1d7, folder).embodiment.index == 3


def test_statistics_may_have_percentiles_without_extremes(n1d7, damaged):
    folder = damaged(n1d7)

    def remove(content):
        for modality in ("state", "action"):
            for kinds in content[n1d7.tag][modality].values():
                del kinds["min"], kinds["max"]

    edit(folder / "statistics.json", remove)
    assert_same_answer(load(n1d7, folder), n1d7)


@pytest.mark.parametrize(("name", "edge"), [("gr00t_n1d7/a", 256), ("gr00t_n1d6/a", 512)])
def test_a_size_of_images_that_is_left_out_is_the_lines_own(damaged, name, edge):
    golden = golden_of(name)
    folder = damaged(golden)
    edit(
        folder / "processor_config.json", lambda c: c["processor_kwargs"].pop("shortest_image_edge")
    )
    assert load(golden, folder).model.backbone.pipeline.size(512, 512) == (edge, edge)


class TestATag:
    @pytest.fixture
    def unitree(self, damaged):
        """A checkpoint of N1.6 for the tag that N1.7 gave another value."""
        golden = golden_of("gr00t_n1d6/b")
        folder = damaged(golden)
        edit(folder / "statistics.json", lambda c: rename(c, golden.tag, "unitree_g1"))
        configs = folder / "processor_config.json"
        edit(
            configs,
            lambda c: rename(c["processor_kwargs"]["modality_configs"], golden.tag, "unitree_g1"),
        )
        return lambda tag: load(golden, folder, tag=tag)

    @pytest.mark.parametrize("tag", ["unitree_g1", "UNITREE_G1", EmbodimentTag.UNITREE_G1])
    def test_may_be_spelled_as_in_the_checkpoint_or_by_its_name(self, unitree, tag):
        assert unitree(tag).embodiment.tag == "unitree_g1"

    def test_of_ones_own_may_have_any_spelling(self, n1d7, damaged):
        folder = damaged(n1d7)
        for name in ("statistics", "embodiment_id", "processor_config"):
            edit(folder / f"{name}.json", lambda content: rename_tag(content, n1d7.tag, "My_Robot"))
        assert load(n1d7, folder, tag=" My_Robot ").embodiment.tag == "My_Robot"


class TestFieldsOfTraining:
    def test_of_a_modality_are_ignored(self, n1d7, damaged):
        folder = damaged(n1d7)

        def add(content):
            configs = content["processor_kwargs"]["modality_configs"][n1d7.tag]
            configs["video"]["novelty"] = 1
            configs["rl_info"] = {}

        edit(folder / "processor_config.json", add)
        assert_same_answer(load(n1d7, folder), n1d7)

    @pytest.mark.parametrize("where", ["processor", "modality"])
    def test_exclude_state_makes_the_network_read_zeros(self, n1d7, damaged, where):
        folder = damaged(n1d7)

        def exclude(content):
            options = content["processor_kwargs"]
            state = options["modality_configs"][n1d7.tag]["state"]
            (options if where == "processor" else state)["exclude_state"] = True

        edit(folder / "processor_config.json", exclude)
        policy = load(n1d7, folder)
        assert not policy.embodiment.encode_state(n1d7.group("one", "state"), 32).any()
