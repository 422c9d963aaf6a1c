"""Every benchmark, one after the other."""

from . import export_memory, items, malloc, scoring

malloc.main()
items.main()
scoring.main()
export_memory.main()
