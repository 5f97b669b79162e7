"""The one exception that means "the operator can fix this"."""


class UsageError(Exception):
    """A fault in how the server was started; its text is one line: the fault and the remedy.

    ``main`` prints it to standard error and exits with status 2, without a traceback.
    """
