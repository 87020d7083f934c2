"""Decide where every output goes, and refuse what cannot be done.

The modules here read the disk and never write: a plan is complete before anything is delivered.
"""
