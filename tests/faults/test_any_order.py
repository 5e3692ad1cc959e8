"""Recording, growing, killing, resuming, damaging, repairing and reading in any order, against a plain model of it."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from small_recording import SAMPLES, SMALL, opened
from store_recording import addresses, bits, fill, hidden_value, put

from ditscope.cache import open_cache
from ditscope.cache.verification import verify
from ditscope.errors import CacheError

DAMAGED = addresses(SMALL)[:1]


class Recording(RuleBasedStateMachine):
    """``known`` are the samples that a recording asked for, ``done`` those that are committed."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "a.zarr"
        self.known, self.done, self.damaged = [], set(), set()
        self.writer = None

    def teardown(self):
        self.kill()
        shutil.rmtree(self.folder)

    @precondition(lambda self: self.writer is None)
    @rule(asked=st.lists(st.sampled_from(range(4)), unique=True, min_size=1))
    def open(self, asked):
        self.known += [sample for sample in asked if sample not in self.known]
        self.writer = opened(self.path, [SAMPLES[sample] for sample in asked])
        assert self.writer.positions == [self.known.index(sample) for sample in asked]
        assert self.writer.committed == self.done

    @precondition(lambda self: self.writer)
    @rule(pick=st.randoms(use_true_random=False))
    def commit_one(self, pick):
        if to_go := sorted(set(range(len(self.known))) - self.done):
            sample = pick.choice(to_go)
            self.writer.discard(sample)
            fill(self.writer, sample)
            self.writer.commit(sample)
            self.done.add(sample)

    @precondition(lambda self: self.writer)
    @rule(n=st.integers(1, 3))
    def begin_one(self, n):
        if to_go := sorted(set(range(len(self.known))) - self.done):
            self.writer.discard(to_go[0])
            for address in addresses(SMALL)[:n]:
                put(self.writer, to_go[0], address, hidden_value(SMALL, to_go[0], address))

    @precondition(lambda self: self.writer)
    @rule()
    def kill(self):
        """What a process that ends leaves: its lock goes, and its memory."""
        if self.writer:
            self.writer._shards.close()
            self.writer._lock.close()
        self.writer = None

    @precondition(lambda self: self.writer)
    @rule()
    def end(self):
        self.writer.close()
        self.writer = None

    @precondition(lambda self: self.done)
    @rule(pick=st.randoms(use_true_random=False))
    def damage(self, pick):
        sample = pick.choice(sorted(self.done))
        if sample not in self.damaged:
            file = self.path / f"image/block_output/hidden/c.{sample}.0.0.0.0.0"
            file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
            self.damaged.add(sample)
            self.read()

    @precondition(lambda self: self.writer and self.done)
    @rule(pick=st.randoms(use_true_random=False))
    def drop(self, pick):
        sample = pick.choice(sorted(self.done))
        self.writer.drop(sample)
        self.done.discard(sample)
        self.damaged.discard(sample)

    @precondition(lambda self: self.writer and self.damaged)
    @rule()
    def repair(self):
        for sample in sorted(self.damaged):
            before = self.writer.drop(sample)
            fill(self.writer, sample)
            self.writer.commit(sample, like=before)
        self.damaged.clear()

    @precondition(lambda self: self.path.exists())
    @rule()
    def read(self):
        cache = open_cache(self.path)
        for sample in sorted(self.done):
            for address in addresses(SMALL)[::2]:
                where = {"step": address.step, "branch": address.branch, "block": address.block}
                values = cache.hidden().sel(sample=sample, **where)
                if sample in self.damaged and address in DAMAGED:
                    with pytest.raises(CacheError, match=f"sample {sample},"):
                        values.load()
                    continue
                found = values.values
                np.testing.assert_array_equal(bits(found), bits(hidden_value(SMALL, sample, address)))

    @precondition(lambda self: self.path.exists())
    @rule()
    def verify(self):
        assert set(verify(self.path).damaged_samples) == self.damaged

    @invariant()
    def the_store_says_what_the_model_says(self):
        if self.path.exists():
            cache = open_cache(self.path)
            assert [SAMPLES.index(spec) for spec in cache.specs] == self.known
            assert set(cache.committed) == self.done


TestRecording = Recording.TestCase
TestRecording.settings = settings(
    max_examples=10,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
