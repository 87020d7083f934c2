"""Act on whole workflows and on the scripts that build them.

The modules here see every sink of a workflow at once; all others see one.
"""
