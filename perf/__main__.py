"""Every benchmark, one after the other."""

from . import export_memory, malloc, scoring

malloc.main()
scoring.main()
export_memory.main()
