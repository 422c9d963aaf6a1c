"""The report as one HTML page: what it shows, its template, its style and its script."""
