# SPDX-License-Identifier: Apache-2.0
"""Evaluates a policy through the policy node: bags are played to it, its chunks are compared.

The node is the real one, and so are DDS, its services and its topics; time is simulated. It stands
still while the node receives a message and while the policy answers. Nothing leaves the process,
and commands are not published at all.
"""
