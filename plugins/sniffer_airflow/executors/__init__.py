"""How a program of ours runs: as a process of the task, or as a pod."""
