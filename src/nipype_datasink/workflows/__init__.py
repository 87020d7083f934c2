"""Run the scripts that build workflows.

The modules here act on a whole script or workflow; all others act on one sink.
"""
