# SPDX-License-Identifier: Apache-2.0
"""The parameters `policy.…`: where the policy runs, and how observations travel there. Pure."""

from __future__ import annotations

from gr00t_ros.contract.conditions import JPEG, LOCAL, ONE_HOST, SERVER
from gr00t_ros.contract.parameter import Parameter

BACKENDS = ("server", "local")
IMAGE_ENCODINGS = ("raw", "jpeg")
# As of the flags of `gr00t-policy serve`; importing them would bring the command line along.
DTYPES = ("bfloat16", "float16", "float32", "fp8")
COMPILE_MODES = ("default", "max-autotune")
WHEN = ("auto", "always", "never")  # not on and off, which YAML reads as booleans

POLICY_PARAMETERS = (
    Parameter("policy.backend", "server", "where the policy runs", choices=BACKENDS),
    Parameter(
        "policy.host",
        "localhost",
        "host of the policy server, or a Unix socket (ipc:///path)",
        only_with=ONE_HOST,
    ),
    Parameter("policy.port", 5555, "TCP port of the policy server", 1, 65535, only_with=SERVER),
    Parameter(
        "policy.hosts",
        [],
        "several policy servers, each `host` or `host:port`, instead of policy.host: the node "
        "uses the "
        "first that answers, and returns to an earlier one once that is back",
        only_with=SERVER,
    ),
    Parameter(
        "policy.token", "", "API token that the server requires; empty: none", only_with=SERVER
    ),
    Parameter(
        "policy.server_key",
        "",
        "public CURVE key of a secured server, or the file server.key; empty: plain text",
        only_with=SERVER,
    ),
    Parameter(
        "policy.keys",
        "",
        "the node's own key pair for a secured server: the file NAME.key_secret that "
        "`gr00t-policy keys` made",
        only_with=SERVER,
    ),
    Parameter(
        "policy.robot_name",
        "",
        "name of the robot for those who watch the server (`gr00t-policy top`); empty: the name of "
        "the host and the node's namespace",
        only_with=SERVER,
    ),
    Parameter(
        "policy.image_encoding",
        "raw",
        "how images travel to the server; jpeg: compressed, if the server accepts JPEG, and "
        "images of "
        "a CompressedImage topic without decoding them",
        choices=IMAGE_ENCODINGS,
        only_with=SERVER,
    ),
    Parameter(
        "policy.quality",
        90,
        "JPEG quality of images that the node compresses",
        1,
        100,
        only_with=JPEG,
    ),
    Parameter(
        "policy.resize",
        False,
        "resize images before they are sent, exactly as the first step of the policy does, if the "
        "policy reports that step",
        only_with=SERVER,
    ),
    Parameter(
        "policy.timeout_s",
        5.0,
        "s, longest wait for one answer",
        0.05,
        600.0,
        only_with=SERVER,
    ),
    Parameter(
        "policy.model_path",
        "",
        "checkpoint: a folder, or an id of the Hugging Face hub",
        only_with=LOCAL,
    ),
    Parameter(
        "policy.backbone_path",
        "",
        "folder with the files of the backbone, if they are not in the checkpoint; empty: fetch "
        "them",
        only_with=LOCAL,
    ),
    Parameter(
        "policy.base_model_path",
        "",
        "base model of a LeRobot checkpoint or a LoRA adapter; empty: the one that it names",
        only_with=LOCAL,
    ),
    Parameter(
        "policy.denoising_steps",
        0,
        "denoising steps of the action head; 0: as the checkpoint says",
        0,
        1000,
        only_with=LOCAL,
    ),
    Parameter(
        "policy.embodiment_tag",
        "new_embodiment",
        "embodiment tag that the model is run for",
        only_with=LOCAL,
    ),
    Parameter("policy.device", "cuda", "torch device: cuda, cuda:1, cpu", only_with=LOCAL),
    Parameter(
        "policy.dtype",
        "",
        "data type of the model; empty: bfloat16 on a GPU, float32 on a CPU",
        choices=("", *DTYPES),
        only_with=LOCAL,
    ),
    Parameter(
        "policy.mask_padding",
        False,
        "mask padded tokens in all attention; makes no difference for a single robot",
        only_with=LOCAL,
    ),
    Parameter(
        "policy.cuda_graphs",
        "auto",
        "replay the networks as CUDA graphs; auto: on a GPU",
        choices=WHEN,
        only_with=LOCAL,
    ),
    Parameter(
        "policy.compile",
        "",
        "compile the networks with torch.compile in this mode, at the first answer; empty: do not",
        choices=("", *COMPILE_MODES),
        only_with=LOCAL,
    ),
    Parameter(
        "policy.device_images",
        "auto",
        "preprocess images on the device; auto: on a GPU",
        choices=WHEN,
        only_with=LOCAL,
    ),
)
