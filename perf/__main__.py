"""Every benchmark, one after the other."""

from . import decoding, export_memory, items, malloc, report, scoring, sessions, startup

startup.main()
malloc.main()
items.main()
decoding.main()
sessions.main()
scoring.main()
report.main()
export_memory.main()
