"""Every benchmark, one after the other."""

from . import (
    attack,
    batches,
    decoding,
    export_memory,
    feed,
    flips,
    items,
    malloc,
    perturbed_report,
    report,
    scoring,
    sessions,
    startup,
    video,
)

startup.main()
malloc.main()
items.main()
decoding.main()
sessions.main()
scoring.main()
feed.main()
report.main()
flips.main()
perturbed_report.main()
export_memory.main()
video.main()
attack.main()
batches.main()
