"""Part One, futures: what `await` waits for, written by hand and polled."""
