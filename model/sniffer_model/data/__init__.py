"""Label data: tables of labels, sources of images, snapshots and their splits."""
