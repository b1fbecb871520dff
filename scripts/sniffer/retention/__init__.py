"""What is kept how long: results that are pruned by age, and keys that are erased."""
