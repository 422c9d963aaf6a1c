"""Tables: one module for each benchmark, the paper's own tables, and comparisons."""
