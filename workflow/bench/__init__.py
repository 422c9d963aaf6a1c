"""Throughput: the job and what it times."""
