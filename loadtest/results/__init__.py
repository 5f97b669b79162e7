"""What was measured, as plain data, and what follows from it."""
