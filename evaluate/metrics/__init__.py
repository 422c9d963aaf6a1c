"""Arithmetic only: arrays in, numbers out. Nothing here opens a file."""
