"""What people decide about flagged images: the page, and decisions on their way out, back in, and into labels."""
