"""From stages to tasks: how the work is cut, what each task reads, and the bytes it needs, before anything runs."""
