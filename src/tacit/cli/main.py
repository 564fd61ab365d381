"""`tacit`: the group of verbs, loaded when used, and the one place where errors become text."""

from __future__ import annotations

from typing import Any, final

import click

from tacit import __version__
from tacit.base.errors import TacitError
from tacit.base.extras import load_deployment
from tacit.base.nearest import did_you_mean

VERBS = {
    "new": ("tacit.cli.new:new", "Make a folder with a federation that runs."),
    "check": ("tacit.cli.check:check", "Say who would see what, before anything runs."),
    "simulate": ("tacit.cli.simulate:simulate", "Run a federation on this computer."),
    "tune": ("tacit.cli.tune:tune", "Choose method and learning rate by federated validation."),
    "runs": ("tacit.cli.runs:runs", "List, show, compare and export finished runs."),
    "data": ("tacit.cli.data:data", "Check and register data sets."),
    "run": ("tacit.cli.run:run", "Run a federation between machines, or rehearse it here."),
    "serve": ("tacit.cli.serve:serve", "Run a coordinator."),
    "invite": ("tacit.cli.people:invite", "Invite a data owner, researcher or auditor."),
    "join": ("tacit.cli.people:join", "Become a member with an invitation."),
    "members": ("tacit.cli.people:members", "List and revoke members."),
    "client": ("tacit.cli.client:client", "Take part with your data; see what left."),
    "peers": ("tacit.cli.peers:peers", "Approve the other data owners."),
    "approve": ("tacit.cli.approve:approve", "Read and approve the code of a run."),
    "ready": ("tacit.cli.ready:ready", "Ask whether a coordinator takes requests."),
    "demo": ("tacit.cli.demo:demo", "Federate four hospitals, in seconds."),
}
"""Each verb, where it lives, and its line in the help: the help itself loads none of them."""

INTERRUPTED = 130
"""The exit status of a command that was stopped by Ctrl-C, by the shells' convention."""


@final
class Verbs(click.Group):
    """A group that imports a verb only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order in which a user meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb."""
        if cmd_name not in VERBS:
            return None
        module, _, attribute = VERBS[cmd_name][0].partition(":")
        found = load_deployment(module, f"`tacit {cmd_name}`")
        command: click.Command = getattr(found, attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest verb for one that does not exist."""
        if args[0] not in VERBS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], VERBS)
            ctx.fail(f"There is no command {args[0]!r}. {hint}".rstrip())
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help's lines, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; what is the user's to mend is told in words, anything else is a bug."""
        try:
            return super().invoke(ctx)
        except TacitError as error:
            from tacit.cli.output import show_error  # rich loads only when there is much to say

            show_error(error, as_json=bool(ctx.meta.get("tacit.json")))
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("Stopped. Nothing was saved.", err=True)
            ctx.exit(INTERRUPTED)


@click.group("tacit", cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tacit", message="%(prog)s %(version)s")
def main() -> None:
    """Learn one model together; raw data stays where it was born.

    Every command takes --json. Exit status: 0 done; 1 refused or failed, with cause and remedy on
    stderr; 2 the command was not understood.
    """


if __name__ == "__main__":
    main(prog_name="tacit")
