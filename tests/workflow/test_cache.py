"""Listing and pruning the cache: what each thing is, and that nothing in use is removed."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import evaluator
from evaluator.contracts import NullProgress
from evaluator.errors import InputError
from evaluator.storage.lock import locked
from evaluator.tests.small_bundle import small_bundle
from evaluator.workflow.cache import DAY_SECONDS, HALF_WRITTEN, KINDS, list_cache, prune_cache
from evaluator.workflow.models.bundles import bundle_lock


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one thing in each kind."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("EVALUATOR_CACHE", str(folder))
    small_bundle(folder / "bundles" / "small-0123")
    for name in (
        "weights/net.pth",
        "parity/aa.json",
        "parity/aa.npz",
        "self-checks/aa.json",
        "stamps/aa.json",
        "timing/rtx.cache",
        f"indexes/{0:032x}",
    ):
        write(folder / name, 1000)
    write(folder / "plans" / "small-00.plan", 5000)
    write(folder / "plans" / "small-00.plan.json", 100)
    (folder / "plans" / "small-00.plan.lock").touch()
    return folder


def write(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" * size)
    return path


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY_SECONDS
    for file in (path, *path.rglob("*")):
        os.utime(file, (then, then))


def names(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


@contextmanager
def held(path: Path) -> Iterator[None]:
    """The lock of ``path``, held by another process."""
    code = (
        "import sys; from pathlib import Path; from evaluator.storage.lock import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.kill()


def test_every_room_is_listed_with_sizes_and_what_lies_there(cache: Path) -> None:
    entries = {entry.kind.name: entry for entry in list_cache()}
    assert list(entries) == list(KINDS)
    assert entries["bundles"].what == "small (random, seed 0), fp32, pixels"
    bundle = cache / "bundles" / "small-0123"
    assert entries["bundles"].size_bytes == sum(p.stat().st_size for p in bundle.iterdir())
    assert entries["weights"].size_bytes == 1000
    assert entries["parity"].size_bytes == 2000  # with the logits beside it
    assert entries["plans"].size_bytes == 5100  # with its manifest, without the lock
    assert entries["plans"].what.startswith("damaged: ")  # zeros are no manifest
    assert not any(entry.leftover for entry in entries.values())
    assert max(entry.age_days for entry in entries.values()) < 0.1


def test_an_empty_cache_has_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "nowhere"))
    assert list_cache() == ()
    assert prune_cache() == ()
    assert not (tmp_path / "nowhere").exists()


def test_a_real_plan_says_what_it_is(cache: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    plan = evaluator.compile_model(str(cache / "bundles" / "small-0123"), "tensorrt-rtx").plan
    (entry,) = (entry for entry in list_cache() if entry.path == plan.path)
    assert entry.what == (
        f"small: tensorrt-rtx {plan.key.version}, fp32, batches 1 to 64, best 64, "
        "for any GPU from Ampere on"
    )


def test_without_a_choice_nothing_but_leftovers_goes(cache: Path) -> None:
    before = names(cache)
    assert prune_cache() == ()
    assert names(cache) == before


def test_what_a_killed_process_left_goes(cache: Path) -> None:
    kept = names(cache)
    write(cache / "plans" / ".small-00.plan.0123abcd.tmp", 700)
    write(cache / "bundles" / ".big-4567.89abcdef.tmp" / "model.onnx", 900)
    removed = prune_cache()
    assert sorted(entry.size_bytes for entry in removed) == [700, 900]
    assert {entry.what for entry in removed} == {HALF_WRITTEN}
    assert names(cache) == kept


def test_what_is_being_written_stays(cache: Path) -> None:
    fresh = write(cache / "parity" / ".bb.json.0123abcd.tmp", 900)  # its writer takes no lock
    export = cache / "bundles" / ".big-4567.89abcdef.tmp"
    write(export / "model.onnx", 900)
    half = write(cache / "plans" / ".other-11.plan.0123abcd.tmp", 700)
    told = NullProgress()
    with held(cache / "plans" / "other-11.plan"), held(bundle_lock(cache / "bundles" / "big-4567")):
        assert prune_cache(progress=told) == ()
    assert told.notes == [
        f"{path.name} is kept: another process is using it." for path in (export, half)
    ]
    assert [path.exists() for path in (fresh, export, half)] == [True] * 3
    assert [entry.path for entry in prune_cache()] == [export, half]
    assert fresh.exists()
    assert not list((cache / "locks").iterdir())


def test_what_is_half_fetched_is_kept_for_the_next_try(cache: Path) -> None:
    for name, size in (("big.pth.part", 500), ("big.pth.part.json", 50), ("big.pth.lock", 0)):
        write(cache / "weights" / name, size)
    assert prune_cache() == ()
    (entry,) = (entry for entry in list_cache() if entry.path.name == "big.pth.part")
    assert (entry.what, entry.size_bytes) == (
        "partial download; run the command again to resume",
        550,
    )
    told = NullProgress()
    with held(cache / "weights" / "big.pth"):
        assert prune_cache(kinds=["weights"], progress=told)[0].path.name == "net.pth"
    assert told.notes == ["big.pth.part is kept: another process is using it."]
    assert [entry.path.name for entry in prune_cache(kinds=["weights"])] == ["big.pth.part"]
    assert names(cache / "weights") == set()


def test_what_is_old_goes_with_what_belongs_to_it(cache: Path) -> None:
    for path in (cache / "plans", cache / "parity", cache / "bundles"):
        age(path, 40)
    age(cache / "weights", 20)
    removed = prune_cache(older_than_days=30)
    assert [entry.kind.name for entry in removed] == ["bundles", "parity", "plans"]
    kept = {"weights/net.pth", "stamps/aa.json", "timing/rtx.cache", f"indexes/{0:032x}"}
    assert names(cache) == {*kept, "self-checks/aa.json"}


def test_a_room_is_emptied_by_name_or_of_what_is_old(cache: Path) -> None:
    age(cache / "weights", 40)
    assert prune_cache(kinds=["weights"], older_than_days=50) == ()
    assert [entry.kind.name for entry in prune_cache(kinds=["weights", "timing", "indexes"])] == [
        "weights", "timing", "indexes"
    ]  # fmt: skip
    kept = {"bundles", "parity", "plans", "self-checks", "stamps"}
    assert {name.split("/")[0] for name in names(cache)} == kept


def test_a_dry_run_removes_nothing(cache: Path) -> None:
    before = names(cache)
    removed = prune_cache(kinds=["plans", "bundles"], dry_run=True)
    assert len(removed) == 2
    assert names(cache) == before


def test_what_another_process_holds_stays_and_is_told(cache: Path) -> None:
    told = NullProgress()
    with held(cache / "plans" / "small-00.plan"):
        assert prune_cache(kinds=["plans"], progress=told) == ()
    assert told.notes == ["small-00.plan is kept: another process is using it."]
    assert (cache / "plans" / "small-00.plan").exists()


def test_a_lock_that_this_process_needs_next_is_not_lost(cache: Path) -> None:
    plan = cache / "plans" / "small-00.plan"
    prune_cache(kinds=["plans"])
    assert names(cache / "plans") == set()  # the lock file went too
    with locked(plan):
        assert names(cache / "plans") == {"small-00.plan.lock"}


def test_a_link_is_removed_and_not_what_it_leads_to(cache: Path, tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "elsewhere" / "net.pth", 10)
    (cache / "weights" / "linked").symlink_to(elsewhere.parent)
    prune_cache(kinds=["weights"])
    assert elsewhere.exists()
    assert not (cache / "weights" / "linked").is_symlink()


def test_a_room_that_is_none_is_refused_before_anything_goes(cache: Path) -> None:
    before = names(cache)
    expected = re.escape(
        "Unknown kind of cache entry: 'planes'. Expected one of bundles, weights, parity, "
        "self-checks, plans, stamps, timing"
    )
    with pytest.raises(InputError, match=expected):
        prune_cache(kinds=["plans", "planes"])
    assert names(cache) == before


def test_what_is_no_bundle_is_listed_as_damaged(cache: Path) -> None:
    write(cache / "bundles" / "odd-0123", 3)
    write(cache / "parity" / "10ae.npz", 3)
    whats = {entry.path.name: entry.what for entry in list_cache()}
    assert whats["odd-0123"].startswith("damaged: ")
    assert whats["10ae.npz"].startswith("damaged: ")


def test_what_the_tool_did_not_make_stays(cache: Path) -> None:
    # EVALUATOR_CACHE may be set to a folder that holds other things.
    mine = [write(cache / kind / "thesis.doc", 10) for kind in ("bundles", "parity", "plans")]
    mine.append(write(cache / "plans" / "sub" / "chapter.tex", 10))
    removed = prune_cache(older_than_days=0)
    assert not {entry.path for entry in removed} & set(mine)
    assert all(path.exists() for path in mine)
    assert not (cache / "plans" / "small-00.plan").exists()
