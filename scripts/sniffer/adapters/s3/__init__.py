"""S3: boto3 lists, obstore fetches."""
