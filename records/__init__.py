"""Runs on disk: shards of records, their identity, resuming them, and their provenance.

Knows nothing of images or models: it runs any ``work`` that turns a shard into a table.

    RUN/run.json                                                   the RunManifest, written once
    RUN/records/corruption=fog/severity=3/part-00012.parquet       one finished shard

There is no index: what is there is done. Files appear whole or not at all.
"""
