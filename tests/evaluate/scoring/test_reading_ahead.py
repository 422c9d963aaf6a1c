import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from evaluator.contracts import Item, Shard
from evaluator.evaluate.scoring import score_shard
from evaluator.evaluate.sources.folder import FolderSource
from evaluator.tests.evaluate.scoring.bed import CLEAN, CountingSource, FakeEngine, job_of, scored


@pytest.mark.parametrize("read_ahead", [1, 2, 4, 100])
def test_no_more_than_read_ahead_batches_are_decoded_ahead(photos: Path, read_ahead: int) -> None:
    source = CountingSource(FolderSource(photos, [CLEAN]))
    ahead: list[int] = []
    engine = FakeEngine()

    def look() -> None:
        time.sleep(0.02)  # let the decoders run as far as they may
        ahead.append(-(-source.begun // 2) - len(engine.received))

    engine.on_batch = look
    with ThreadPoolExecutor(8) as pool:
        scored(
            job_of(
                photos, engine, source=source, batch_size=2, decoders=pool, read_ahead=read_ahead
            )
        )
    assert len(ahead) == 11
    assert max(ahead) <= read_ahead
    assert max(ahead) >= min(read_ahead - 1, 10)


def test_without_decoders_a_batch_is_decoded_when_it_is_asked_for(photos: Path) -> None:
    source = CountingSource(FolderSource(photos, [CLEAN]))
    engine = FakeEngine()
    begun: list[int] = []
    engine.on_batch = lambda: begun.append(source.begun)
    scored(job_of(photos, engine, source=source, batch_size=7))
    assert begun == [7, 14, 21]


def test_several_callers_score_several_shards_at_once(photos: Path) -> None:
    job = job_of(photos, batch_size=2)
    shards = [Shard(CLEAN, n, 7 * n, 7 * n + 7) for n in range(3)] * 4
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda shard: score_shard(job, shard, lambda n: None), shards))
    expected = scored(job)[0].to_pylist()
    for shard, (table, _) in zip(shards, results, strict=True):
        assert table.to_pylist() == expected[shard.start : shard.stop]


def test_batches_come_in_order_when_the_first_takes_longest(
    photos: Path, decoders: ThreadPoolExecutor
) -> None:
    @dataclass
    class Slow(CountingSource):
        def read(self, item: Item) -> bytes:
            data = super().read(item)
            time.sleep(0.1 if item == first else 0)
            return data

    job = job_of(photos, batch_size=2, decoders=decoders)
    first = job.items[CLEAN][0]
    slow, plain = replace(job, source=Slow(job.source)), replace(job, decoders=None)
    assert scored(slow)[0].to_pylist() == scored(plain)[0].to_pylist()
    assert scored(slow)[1] == scored(plain)[1]
