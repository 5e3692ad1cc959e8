"""Claim: a few massive channels lead in every block, mark the subject, and the image hangs on them.

Design: record hidden states of every block, rank channels, measure how stable the ranking is, cluster
tokens into masks, and generate again with the channels zeroed. Controls: bottom, middle, random and
energy-matched random channels, and the mean in place of zero. Outputs: ``cache.zarr``, the saved result
(``config.json``, ``results.json``, ``provenance.json``, ``arrays.zarr``), ``report.html`` and PNG figures.

    python analyses/first_look.py --model shapes --out runs/first_look
    python analyses/first_look.py --model shapes --set k=12 --set num_inference_steps=28 --out runs/twelve
"""

from __future__ import annotations

import sys

from ditscope.cli import main

if __name__ == "__main__":
    main(["study", "first_look", *sys.argv[1:]])
