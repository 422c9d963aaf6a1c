"""Images that maximize penultimate units."""
