# SPDX-License-Identifier: Apache-2.0
"""The contract between a robot and a policy: parameters in, frozen dataclasses out."""
