"""Demonstrate a whole workflow: it runs twice on real images and writes its outputs to S3.

Nothing outside this folder imports it, except the command line.
"""
