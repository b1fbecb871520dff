"""S3: boto3 lists and resolves the way, objects are fetched along it."""
