"""Every benchmark, one after the other."""

from . import malloc, scoring

malloc.main()
scoring.main()
