"""Files and folders: the cache, writing things whole or not at all, documents with a schema."""
