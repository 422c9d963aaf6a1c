"""Data sets from the network: which there are, fetching them, and verifying what is on disk."""
