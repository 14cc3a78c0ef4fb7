# SPDX-License-Identifier: Apache-2.0
"""What the lines of GR00T share: checkpoints, normalisation, images, prompts, the action head."""
