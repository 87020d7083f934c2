"""Trying the sink on real stores: what works, and what a user of each has to set."""
