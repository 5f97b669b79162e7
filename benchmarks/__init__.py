"""What the runtime's own verbs cost, beside asyncio, uvloop and Trio: `python -m benchmarks`.

`catalogue.py` says what each benchmark does; `programs/` has it written for each engine; and a run
is one benchmark on one engine in a process of its own (`measure.py`), so that nothing an engine
imports, caches or leaves behind weighs on another.
"""
