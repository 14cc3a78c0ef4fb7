# SPDX-License-Identifier: Apache-2.0
"""Sockets: plain ZMTP over TCP and Unix sockets, and CURVE by libzmq.

Nothing here reads what a message says.
"""
