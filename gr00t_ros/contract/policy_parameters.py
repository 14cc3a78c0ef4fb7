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
        "host of the policy server, or its Unix socket: ipc:///path",
        only_with=ONE_HOST,
    ),
    Parameter("policy.port", 5555, "TCP port of the policy server", 1, 65535, only_with=SERVER),
    Parameter(
        "policy.hosts",
        [],
        "several policy servers, each `host` or `host:port`, in place of policy.host: the first "
        "that answers is asked, and again once it is back",
        only_with=SERVER,
    ),
    Parameter("policy.token", "", "token that the server asks for; empty: none", only_with=SERVER),
    Parameter(
        "policy.server_key",
        "",
        "secured server: its public CURVE key, or the file server.key; empty: plain text",
        only_with=SERVER,
    ),
    Parameter(
        "policy.keys",
        "",
        "secured server: file NAME.key_secret that `gr00t-policy keys` made",
        only_with=SERVER,
    ),
    Parameter(
        "policy.image_encoding",
        "raw",
        "jpeg: pictures travel as JPEG to a server that takes it, and those of a CompressedImage "
        "topic as they came",
        choices=IMAGE_ENCODINGS,
        only_with=SERVER,
    ),
    Parameter("policy.quality", 90, "quality of the JPEG made here", 1, 100, only_with=JPEG),
    Parameter(
        "policy.resize",
        False,
        "pictures travel at the size that the policy makes them first, where it says so",
        only_with=SERVER,
    ),
    Parameter(
        "policy.timeout_s",
        5.0,
        "s, longest wait for one answer of the policy",
        0.05,
        600.0,
        only_with=SERVER,
    ),
    Parameter("policy.model_path", "", "checkpoint folder or hub id", only_with=LOCAL),
    Parameter("policy.backbone_path", "", "folder of the backbone's own files", only_with=LOCAL),
    Parameter(
        "policy.base_model_path",
        "",
        "base model of a checkpoint of LeRobot or of a LoRA adapter; empty: the one that it names",
        only_with=LOCAL,
    ),
    Parameter(
        "policy.denoising_steps",
        0,
        "steps of denoising; 0: as many as the checkpoint says",
        0,
        1000,
        only_with=LOCAL,
    ),
    Parameter(
        "policy.embodiment_tag", "new_embodiment", "embodiment tag of the model", only_with=LOCAL
    ),
    Parameter("policy.device", "cuda", "torch device: cuda, cuda:1, cpu", only_with=LOCAL),
    Parameter(
        "policy.dtype",
        "",
        "of the model; empty: bfloat16, and float32 on a CPU",
        choices=("", *DTYPES),
        only_with=LOCAL,
    ),
    Parameter(
        "policy.mask_padding",
        False,
        "hide padding from all attention; no difference for one robot's observation",
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
        "compile the networks with torch.compile, at the first answer; empty: not",
        choices=("", *COMPILE_MODES),
        only_with=LOCAL,
    ),
    Parameter(
        "policy.device_images",
        "auto",
        "resize pictures on the device; auto: on a GPU",
        choices=WHEN,
        only_with=LOCAL,
    ),
)
