"""One run after the other: what is planned, started, watched, judged and kept."""
