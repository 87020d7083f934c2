"""Delivery to S3. Neither boto3 nor botocore is imported before a sink writes to ``s3://``."""
