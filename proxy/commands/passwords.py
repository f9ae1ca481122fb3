"""A new password, from the terminal or from stdin; never from the command line, which other users can see."""

import sys

import click

from proxy.domain.accounts import MIN_PASSWORD_CHARACTERS, fits
from proxy.errors import ProxyError

password_option = click.option(
    "--password-stdin", "from_stdin", is_flag=True, help="Read the password from the first line of stdin."
)


def new_password(from_stdin: bool) -> str:
    """Asked for twice on the terminal, without being shown. Raises ProxyError for one that is too short or too long."""
    password: str
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    if len(password) < MIN_PASSWORD_CHARACTERS or not fits(password):
        raise ProxyError(f"the password must have {MIN_PASSWORD_CHARACTERS} characters or more, in 1024 bytes at most")
    return password
