"""The review page: a process of its own, with accounts of its own."""
