"""Keep a built-in account out, and let it in again.

Two places know of it: the database, whether he may sign in; the store, a mark that stops at once whatever he holds
already. The mark comes first and the database last, so whatever happens in between, nobody is let in by half of it.
"""

from datetime import datetime

from proxy.ports import AccountsDatabase, AccountsTransaction, BlockMarks


def disable_user(account: str, accounts: AccountsDatabase, blocks: BlockMarks, now: datetime) -> bool:
    """Repeating it is safe. False: there is no such user. Raises StoreUnavailable."""
    if accounts.find(account) is None:
        return False
    blocks.block(account)
    with accounts.alone() as change:
        done = change.disable(account, now)
        blocks.block(account)  # somebody may have enabled him since
    return done


def enable_user(account: str, accounts: AccountsDatabase, blocks: BlockMarks, now: datetime) -> bool:
    """Cut off in the middle, he stays disabled. False: there is no such user. Raises StoreUnavailable."""
    with accounts.alone() as change:
        done = change.enable(account, now)
        if done:
            blocks.unblock(account)
    return done


def mend_blocks(accounts: AccountsDatabase, blocks: BlockMarks, now: datetime) -> int:
    """Completes what was cut off, and gives a store that lost its marks all of them again. Returns how many.

    A mark without the database's word: disabling had begun, so it is done now. Raises StoreUnavailable.
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
    """The accounts of which mark and database tell another thing, and whether the database says disabled."""
    disabled = {user.account: user.disabled_at is not None for user in accounts.users()}
    marked = blocks.blocked_among(list(disabled))
    return {account: is_disabled for account, is_disabled in disabled.items() if is_disabled != (account in marked)}
