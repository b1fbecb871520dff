"""The scan: finds the images of an S3 bucket, scores them through TensorFlow Serving, accounts for each in MySQL."""
