"""A store's ledger as its tests look at it: its lines, what is in them, and what the reader makes of it."""

import json

from ditscope.cache import open_cache
from ditscope.cache.ledger_reading import read_ledger
from ditscope.cache.sample_ledger import FILE


def lines_of(store):
    return (store / FILE).read_bytes().splitlines(keepends=True)


def content_of(text):
    return json.loads(text[9:])


def ledger_of(store):
    cache = open_cache(store)
    return read_ledger(store, cache.manifest, cache.plans)
