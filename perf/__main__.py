"""Every benchmark, one after the other."""

from . import decoding, export_memory, malloc, scoring, startup

startup.main()
malloc.main()
decoding.main()
scoring.main()
export_memory.main()
