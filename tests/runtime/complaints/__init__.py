"""What users of other runtimes asked for, one test each, named after where they asked.

These are the short, end-to-end versions; the depth is in the files of the directory above. The
table in `docs/runtime.md` names them all, and `test_table.py` sees to it that it does.
"""
