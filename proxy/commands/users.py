"""`app-proxy accounts` and `app-proxy users`: who is blocked, and the accounts of this service's own."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from proxy.auth.block_user import disable_user, enable_user, mend_blocks
from proxy.auth.credentials import account_of
from proxy.auth.sign_in import SignIns, change_password
from proxy.commands import Commands, as_json, config_option, store_of, with_place
from proxy.commands.passwords import new_password, password_option
from proxy.configuration import load_settings
from proxy.domain.offline_messages import OfflineMessage
from proxy.errors import BadSettings, ProxyError, StoreUnavailable
from proxy.settings import Settings
from proxy.spool.folder import REJECTED_SUFFIX
from proxy.spool.format import SUFFIX, Record, walk
from proxy.store.erasing import Erasure, names_account
from proxy.store.records import UnreadableRecord, load_offline_message
from proxy.store.users.api_keys import RedisApiKeys
from proxy.store.users.blocks import RedisBlocks
from proxy.wiring.common import lanes_of, utc_now
from proxy.wiring.web import built_in_accounts

_CALL_S = 15.0  # each takes milliseconds; a store that is saving may take longer


@click.group(cls=Commands)
def accounts() -> None:
    """Block accounts of whatever system proves them, let them in again, and erase what is kept of them.

    A blocked account gets no MIMC token and no alert from the next request on, also with a bearer that is still good.
    A MIMC token that it was given before stays valid at MIMC: this service cannot call it back.
    """


@accounts.command()
@config_option
@click.argument("account")
def block(config: Path | None, account: str) -> None:
    """Block an account. Repeating it changes nothing."""
    RedisBlocks(store_of(load_settings(config))).block(_account(account))


@accounts.command()
@config_option
@click.argument("account")
def unblock(config: Path | None, account: str) -> None:
    """Let a blocked account in again."""
    RedisBlocks(store_of(load_settings(config))).unblock(_account(account))


@accounts.command()
@config_option
@click.argument("account")
@click.option("--dry-run", is_flag=True, help="Only count what there is.")
@click.option("--unblock", is_flag=True, help="Also forget that it is blocked.")
def erase(config: Path | None, account: str, dry_run: bool, unblock: bool) -> None:
    """Remove what is kept of an account: in every section, in the store, and as a built-in account.

    Block it before, and delete it at MIMC, or what comes in afterwards is kept as always. Repeating it is safe; repeat
    it where jobs were under way. A line of JSON counts what was found, and names the API keys that act as the account:
    they stay until `app-proxy keys revoke`. docs/users.md says what ends by itself. Exit code 1: callbacks that
    name the account lie in this machine's spool; repeat this once the store has them.
    """
    settings, name = load_settings(config), _account(account)
    its = store_of(settings, at_least_s=_CALL_S)
    lanes = lanes_of(settings)
    app_ids = {section: app.app_id for section, app in settings.apps.items()}
    erasure = Erasure(its, name, app_ids, lanes, replicas=settings.store.replicas, only_ask=dry_run)
    is_user = _erase_user(settings, RedisBlocks(its), name, only_ask=dry_run)
    erasure.run()
    if unblock and not dry_run:
        RedisBlocks(its).unblock(name)
    api_keys = [key.name for key in RedisApiKeys(its).all_keys() if key.account == name]
    spooled = sum(1 for message in _spooled(settings) if names_account(message, name))
    told = {"account": name, "dry_run": dry_run, **erasure.counts, "built-in accounts": int(is_user)}
    click.echo(as_json({**told, "spooled": spooled, "api_keys": api_keys}))
    if not dry_run:
        when = utc_now().isoformat(timespec="seconds")
        click.echo(as_json({"event": "audit", "what": "account erased", "account": name, "time": when}), err=True)
    if spooled:
        raise ProxyError("callbacks that name it lie in this machine's spool; repeat this once the store has them")


def _erase_user(settings: Settings, blocks: RedisBlocks, account: str, *, only_ask: bool) -> bool:
    found = built_in_accounts(settings.auth.accounts, blocks)
    if found is None:
        return False
    try:
        return found.accounts.find(account) is not None if only_ask else found.accounts.erase(account)
    finally:
        found.accounts.close()


def _spooled(settings: Settings) -> Iterator[OfflineMessage]:
    """What waits in this machine's spool, and what its rejected files hold."""
    folder = settings.store.spool_dir
    if folder is None or not folder.is_dir():
        return
    for path in sorted([*folder.glob(f"*{SUFFIX}"), *folder.glob(f"*{REJECTED_SUFFIX}")]):
        for item in walk(path.read_bytes()):
            if isinstance(item, Record) and not item.done:
                with suppress(UnreadableRecord):
                    yield load_offline_message(item.body)


@click.group(cls=Commands)
def users() -> None:
    """The built-in accounts of [auth.accounts]: who may sign in at /auth/login."""


@users.command("add")
@config_option
@password_option
@click.argument("account")
def add_user(config: Path | None, account: str, from_stdin: bool) -> None:
    """Make an account. Its password is asked for twice, without being shown."""
    account, sign_ins = _account(account), _sign_ins(config)
    password_hash = sign_ins.passwords.hash(new_password(from_stdin))
    if not sign_ins.accounts.add(account, password_hash, utc_now()):
        raise ProxyError("there is such a user already")
    _mend(sign_ins)  # the name may be blocked already


@users.command("disable")
@config_option
@click.argument("account")
def disable(config: Path | None, account: str) -> None:
    """Stop a user at once: no sign-in, no token, no alert; their sessions end. Repeating it changes nothing.

    A MIMC token that they already have stays valid at MIMC until it expires.
    """
    sign_ins = _sign_ins(config)
    _mend(sign_ins)
    _require_user(disable_user(_account(account), sign_ins.accounts, sign_ins.blocks, utc_now()))


@users.command("enable")
@config_option
@click.argument("account")
def enable(config: Path | None, account: str) -> None:
    """Let a disabled user sign in again."""
    sign_ins = _sign_ins(config)
    _mend(sign_ins)
    _require_user(enable_user(_account(account), sign_ins.accounts, sign_ins.blocks, utc_now()))


@users.command("passwd")
@config_option
@password_option
@click.argument("account")
def passwd(config: Path | None, account: str, from_stdin: bool) -> None:
    """Give a user another password. All their sessions end."""
    account, sign_ins = _account(account), _sign_ins(config)
    _mend(sign_ins)
    _require_user(sign_ins.accounts.find(account) is not None)
    password_hash = sign_ins.passwords.hash(new_password(from_stdin))
    _require_user(change_password(account, password_hash, sign_ins, utc_now()))


@users.command("list")
@config_option
def list_users(config: Path | None) -> None:
    """One line of JSON for each user."""
    sign_ins = _sign_ins(config)
    _mend(sign_ins)
    for user in sign_ins.accounts.users():
        shown = {"account": user.account, "created_at": user.created_at.isoformat(timespec="seconds")}
        if user.disabled_at:
            shown["disabled_at"] = user.disabled_at.isoformat(timespec="seconds")
        click.echo(as_json(shown))


def _sign_ins(config: Path | None) -> SignIns:
    settings = load_settings(config)
    found = built_in_accounts(settings.auth.accounts, RedisBlocks(store_of(settings)))
    if found is None:
        raise BadSettings(["auth.accounts: the section is missing, so there are no built-in accounts"])
    click.get_current_context().call_on_close(found.accounts.close)
    return found


def _mend(sign_ins: SignIns) -> None:
    try:
        mend_blocks(sign_ins.accounts, sign_ins.blocks, utc_now())
    except StoreUnavailable as error:
        click.echo(f"note: whether blocks and disabled users agree could not be seen: {with_place(error)}", err=True)


def _require_user(is_there: bool) -> None:
    if not is_there:
        raise ProxyError("there is no such user")


def _account(text: str) -> str:
    account = account_of(text)
    if account is None:
        raise click.BadParameter("1 to 256 bytes, without control characters", param_hint="ACCOUNT")
    return account
