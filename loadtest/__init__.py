"""Load tests for the echo/sleep server: Locust users, and a comparison of the server's engines.

The server is known by its command line alone; nothing here imports it. Only `users.py`,
`monitor.py` and `locustfile.py` import Locust, which monkey-patches whoever does: `compare` and
its tests run it as a process instead.
"""
