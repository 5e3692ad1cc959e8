"""Claim: a few massive channels lead in every block, mark the subject, and the image hangs on them.

Design: record hidden states of every block, rank channels, measure how stable the ranking is, cluster
tokens into masks, and generate again with the channels zeroed. Controls: bottom, middle, random and
energy-matched random channels, and the mean in place of zero. Outputs: ``cache.zarr``, ``report.html``,
PNG figures and ``results.json``.

    python analyses/first_look.py --model shapes --out runs/first_look
"""

from __future__ import annotations

from ditscope.cli import first_look_app

if __name__ == "__main__":
    first_look_app()
