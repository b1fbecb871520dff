"""One foreign system per module or folder: S3, MySQL, TensorFlow Serving, Pillow."""
