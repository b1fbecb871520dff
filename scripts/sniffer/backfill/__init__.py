"""A whole historical bucket as one scan in shards: what it costs, who approves it, and in which order it is done."""
