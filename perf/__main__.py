"""Every benchmark, one after the other."""

from . import decoding, export_memory, items, malloc, report, scoring, startup

startup.main()
malloc.main()
items.main()
decoding.main()
scoring.main()
report.main()
export_memory.main()
