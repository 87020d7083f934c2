"""Carry a plan out: write files to disk, whole or not at all, and record what became of each.

Only this folder writes to local destinations, or removes anything from them.
"""
