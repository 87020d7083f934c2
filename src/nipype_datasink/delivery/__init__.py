"""Carry a plan out: write files to disk, whole or not at all, and record what became of each.

Everything that writes, replaces or removes files on disk is here.
"""
