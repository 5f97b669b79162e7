"""Jack O'Connor's "Async Rust in Three Parts", step by step, in Python: `python -m examples`.

Each step is one small file that runs.  They are numbered in reading order, later ones import from
earlier ones, and the last ones end where `runtime/` begins.
"""
