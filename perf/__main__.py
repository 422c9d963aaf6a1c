"""Every benchmark, one after the other."""

from . import export_memory, items, malloc, report, scoring

malloc.main()
items.main()
scoring.main()
report.main()
export_memory.main()
