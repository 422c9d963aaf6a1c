"""Numbers into tables that a person reads: the terminal's, Markdown's."""
