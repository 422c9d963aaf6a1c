"""Where the bytes of a benchmark's items come from."""
