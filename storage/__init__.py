"""Files and folders: the cache, atomic writes, downloads, locks, and JSON documents."""
