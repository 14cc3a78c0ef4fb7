# SPDX-License-Identifier: Apache-2.0
"""Policies across a network: messages of both lines of Isaac-GR00T, a server and a client."""
