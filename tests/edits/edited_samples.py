"""What edited runs of the untrained pipeline are of."""

from __future__ import annotations

import bare_pipeline

PROMPTS, SEEDS = ["a red circle", "a white star"], [5, 6]
CALL = {"num_inference_steps": 2, **bare_pipeline.GUIDED}  # 4 x 8 image tokens, 24 text tokens
