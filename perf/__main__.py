"""Every benchmark, one after the other."""

from . import export_memory, malloc, report, scoring

malloc.main()
scoring.main()
report.main()
export_memory.main()
