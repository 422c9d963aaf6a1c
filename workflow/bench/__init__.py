"""Throughput: the job, and the parts that it times."""
