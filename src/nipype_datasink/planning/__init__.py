"""Decide where every output goes, and check that all of it is possible.

The modules here read the disk but never write: nothing is delivered before the whole plan is
valid.
"""
