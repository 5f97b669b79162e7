"""Part Two, tasks: futures that run in the background, and the loop that runs them."""
