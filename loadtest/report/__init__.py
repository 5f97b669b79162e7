"""`report.html`, from the results alone."""
