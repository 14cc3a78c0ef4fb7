# SPDX-License-Identifier: Apache-2.0
"""Open-loop evaluation: a policy's actions beside recorded ones, and what is wrong with them."""
