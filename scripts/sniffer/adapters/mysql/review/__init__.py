"""MySQL: what waits for reviewers, who holds it, what they decided, and what was drawn at random for them."""
