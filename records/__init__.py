"""Runs on disk: shards of records, their identity, resuming them, and their provenance.

Nothing here depends on images or models: any ``work`` that turns a shard into a table will do.

    RUN/run.json                                                   the RunManifest, written once
    RUN/records/corruption=fog/severity=3/part-00012.parquet       one finished shard

There is no index: a shard is finished if its file exists. All files are written atomically.
"""
