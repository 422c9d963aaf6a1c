"""One file a benchmark, and the table of them."""
