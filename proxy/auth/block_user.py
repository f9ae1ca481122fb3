"""Keep a built-in account out, and let it in again.

Two places know of it: the database, whether the user may sign in; the store, by a block that ends at once every proof
that the user holds already. The block comes first and the database last, so a change that is cut off in between lets no
blocked user in.
"""

from datetime import datetime

from proxy.auth.accounts_db import AccountsDatabase, AccountsTransaction
from proxy.ports import BlockMarks


def disable_user(account: str, accounts: AccountsDatabase, blocks: BlockMarks, now: datetime) -> bool:
    """Repeating it is safe. False: there is no such user. Raises StoreUnavailable."""
    if accounts.find(account) is None:
        return False
    blocks.block(account)
    with accounts.alone() as change:
        done = change.disable(account, now)
        blocks.block(account)  # another command may have enabled the user since
    return done


def enable_user(account: str, accounts: AccountsDatabase, blocks: BlockMarks, now: datetime) -> bool:
    """Cut off in the middle, the user stays disabled. False: there is no such user. Raises StoreUnavailable."""
    with accounts.alone() as change:
        done = change.enable(account, now)
        if done:
            blocks.unblock(account)
    return done


def mend_blocks(accounts: AccountsDatabase, blocks: BlockMarks, now: datetime) -> int:
    """Completes what was cut off, and gives a store that lost its blocks all of them again. Returns how many.

    A block without the database's word: disabling had begun, so it is done now. Raises StoreUnavailable.
    """
    if not _differing(accounts, blocks):
        return 0
    with accounts.alone() as change:  # looked at again, for a command may have been at it
        differing = _differing(change, blocks)
        for account, is_disabled in differing.items():
            if is_disabled:
                blocks.block(account)
            else:
                change.disable(account, now)
    return len(differing)


def _differing(accounts: AccountsDatabase | AccountsTransaction, blocks: BlockMarks) -> dict[str, bool]:
    """The accounts whose block and database disagree, and whether the database says disabled."""
    disabled = {user.account: user.disabled_at is not None for user in accounts.users()}
    marked = blocks.blocked_among(list(disabled))
    return {account: is_disabled for account, is_disabled in disabled.items() if is_disabled != (account in marked)}
