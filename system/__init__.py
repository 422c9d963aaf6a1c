"""The process and its memory: child processes, malloc, and how large a batch fits."""
