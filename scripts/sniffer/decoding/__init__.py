"""Decoding in a process of its own, which a hostile file may end without harm to anybody."""
