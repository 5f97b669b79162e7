"""Loads by clients in C that ask as fast as they are answered, and the limit in C."""
