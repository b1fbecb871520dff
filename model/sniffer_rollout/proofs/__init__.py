"""What is checked of a new version beside the stable one."""
