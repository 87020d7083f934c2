"""Test the sink with real S3 stores and write which settings each of them needs."""
