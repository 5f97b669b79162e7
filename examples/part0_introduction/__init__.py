"""The introduction: many things at once, first with threads, then with async, then wrongly."""
