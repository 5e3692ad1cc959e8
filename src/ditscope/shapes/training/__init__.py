"""How the embedded pipeline was trained. ``python -m ditscope.shapes.training`` does it again."""
