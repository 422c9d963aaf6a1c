"""Reports on runs: numbers, comparisons, figures, and whether an attack is reliable."""
