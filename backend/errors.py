"""What the user is told where something is wrong: one line."""


class UserError(Exception):
    """What a user can mend: one line that says what was found, what was wanted, what to type."""


class BackendError(UserError):
    """What is missing on this machine, as one line that says how to get it."""


def counted(number, noun):
    """"1 picture", "5,000 pictures"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
