"""Shards: ranges of keys that tile a bucket, of about equal size, found by sampling; and its listing in parallel."""
