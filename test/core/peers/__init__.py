# SPDX-License-Identifier: Apache-2.0
"""Peers that speak as Isaac-GR00T's own clients and servers do, with none of our code.

Written from the documented behaviour of both lines: the test of our half is what these make of it.
"""
