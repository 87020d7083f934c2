"""Send files through the AWS Common Runtime.

Only this folder imports `awscrt`, which is an optional dependency.
"""
