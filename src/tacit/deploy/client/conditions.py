"""Whether now is a time for turns: the owner's hours and the owner's own command."""

from __future__ import annotations

import asyncio
import os

from tacit.deploy.client.owner import OwnerPolicy


async def not_now(policy: OwnerPolicy, now: float) -> tuple[str, ...]:
    """Reasons to wait with a turn; empty: now."""
    if not policy.open_at(now):
        return (f"turns are taken only between {policy.hours} local time",)
    if policy.condition and (why := await _against(policy)):
        return (why,)
    return ()


async def _against(policy: OwnerPolicy) -> str:
    """Why the owner's command does not say yes; what it prints stays here."""
    quiet = asyncio.subprocess.DEVNULL
    clean = {"PATH": os.environ.get("PATH", os.defpath)}
    try:
        command = await asyncio.create_subprocess_exec(
            *policy.condition, stdin=quiet, stdout=quiet, stderr=quiet, env=clean
        )
    except OSError:
        return "the owner's condition cannot be asked"
    try:
        status = await asyncio.wait_for(command.wait(), policy.condition_seconds)
    except TimeoutError:
        return "the owner's condition does not answer in time"
    finally:
        if command.returncode is None:
            command.kill()
            await command.wait()
    return "" if status == 0 else "the owner's condition does not hold now"
