"""Reports: tables for the terminal and Markdown, figures, and the published numbers."""
