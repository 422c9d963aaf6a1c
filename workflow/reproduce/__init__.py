"""The paper's tables and figures in one call: a plan of the work, and doing it."""
