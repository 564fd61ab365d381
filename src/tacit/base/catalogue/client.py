"""Errors of the client: home folder, policy, data sets, worker."""

from __future__ import annotations

from tacit.base.catalogue.entry import Entry

CLIENT: dict[str, Entry] = {
    "client.home-missing": Entry(
        "There is no client in {home}: {problem}.",
        "Join a federation with `tacit join INVITATION`, or name the folder with --home.",
    ),
    "client.home-taken": Entry(
        "{home} already belongs to a client: joining again would replace its key.",
        "Choose another name or folder for a second client, or use this one as it is.",
    ),
    "client.home-broken": Entry(
        "{file} cannot be used: {problem}.",
        "Restore it from a backup, or join again in another folder with a new invitation.",
    ),
    "client.no-name": Entry(
        "The invitation leaves the member's name open, and none was given.",
        "Give one with --name; others will see it.",
    ),
    "client.no-model": Entry(
        "The run has no model yet.",
        "Wait until it has closed a round.",
    ),
    "client.code-here": Entry(
        "The code {name} is not imported into the process that holds the owner's key.",
        "Start the client with `tacit client`, which runs such code in a child process.",
    ),
    "client.running": Entry(
        "A client already runs on {home}: two would answer with one key.",
        "Stop the other one first, or use its folder on one machine only.",
    ),
    "client.storage": Entry(
        "The disk of the client does not take or give what a turn needs.",
        "Make space or give the rights back; the client goes on by itself.",
    ),
    "client.state-newer": Entry(
        "{file} was written by a newer version of tacit (format {found}; this one knows {known}).",
        "Upgrade tacit on this machine.",
    ),
    "client.unreachable": Entry(
        "The coordinator at {url} does not answer: {problem}.",
        "Check the address, the network and whether the coordinator runs.",
    ),
    "client.refused": Entry("{cause}", "{remedy}"),
    "client.odd-reply": Entry(
        "The coordinator's reply makes no sense: {problem}.",
        "Compare versions of client and coordinator; nothing was changed here.",
    ),
    "client.turn-failed": Entry(
        "The turn could not be taken.",
        "The details are in the data owner's log alone; ask the owner.",
    ),
    "client.settled": Entry(
        "Round {round} was answered and settled before; its bytes are gone.",
        "Start a new run, or restore the coordinator from a newer backup.",
    ),
    "policy.refused": Entry(
        "The owner's policy refuses: {reasons}.",
        "Ask the owner, or change the plan so that it does what the owner demands.",
    ),
    "policy.not-now": Entry(
        "The owner's conditions do not hold now: {reasons}.",
        "Wait; the client takes the turn as soon as they hold, if the round is still open.",
    ),
    "policy.file": Entry(
        "The policy {file} cannot be read: {problem}.",
        "Restore the file; until then the client refuses everything.",
    ),
    "policy.setting": Entry(
        "{name} is {value}, which is not {rule}.",
        "Correct that line of the policy.",
    ),
    "policy.peer-key": Entry(
        "The member id {id} does not belong to this public key.",
        "Compare id and key with the peer itself, not with the coordinator.",
    ),
    "dataset.unknown": Entry(
        "No data set {name} is registered at this client.",
        "Ask the owner for the name; the owner registers one with `tacit data add`.",
    ),
    "dataset.name": Entry(
        "{name!r} cannot be the name of a data set.",
        "Use up to 100 letters, digits, spaces and . _ @ -, beginning with a letter or digit.",
    ),
    "dataset.source": Entry(
        "{source} is no data set that this client can read.",
        "Name a file, `module:function`, or a bundled set with its client; known here: {known}.",
    ),
    "dataset.no-schema": Entry(
        "Client {client} has its data as a CSV file, and the federation has no schema for tables.",
        "Register an NPZ file with the arrays x and y, or a function that returns them.",
    ),
    "dataset.npz": Entry(
        "The file {file} of client {client} cannot be read: {why}.",
        "Write it with numpy.savez(file, x=features, y=labels), without Python objects.",
    ),
    "dataset.failed": Entry(
        "The data set could not be read.",
        "The details are in the owner's log; try `tacit data check` at the client.",
    ),
    "worker.died": Entry(
        "The process that computed the turn died {how}.",
        "Take the turn alone at the client; SIGKILL often means that the machine had no memory "
        "left.",
    ),
    "worker.time": Entry(
        "The turn took more than its {seconds:g} s of {of}.",
        "Do less a round, or ask the owner to raise the limit in the policy.",
    ),
    "worker.memory": Entry(
        "The turn needed more than its {limit} MiB of memory.",
        "Use smaller batches, or ask the owner to raise the limit in the policy.",
    ),
    "worker.processes": Entry(
        "The task's code started more than {limit} processes.",
        "Compute in one process, for example without workers of a data loader.",
    ),
    "worker.output": Entry(
        "The task's code printed more than {limit} bytes.",
        "Print less; the beginning is in the owner's log.",
    ),
    "worker.protocol": Entry(
        "The process that computed the turn sent what makes no sense: {problem}.",
        "Look at the task's code: it must not touch descriptors that it did not open.",
    ),
    "policy.code-name": Entry(
        "The description names code as {entry!r}, which is not `module:function sha256:...`.",
        "Ask the researcher for a description made by this version of tacit.",
    ),
    "policy.code-missing": Entry(
        "There is no copy of {name} here to review.",
        "Ask the researcher for the module, and put it into the client's folder `code`.",
    ),
    "policy.code-differs": Entry(
        "The copy of {name} in {file} is not the one that the run wants (sha256 {found} here, "
        "{expected} wanted).",
        "Get the researcher's current version, put it there, and look at the difference.",
    ),
    "policy.edit": Entry(
        "The list `code` in {file} could not be edited.",
        "Edit it by hand: code = [{entries}]",
    ),
    # The commands.
    "client.which-home": Entry(
        "It is not clear which client is meant: {folder} has {names}.",
        "Name its folder: --home FOLDER. `tacit join` makes one.",
    ),
    "client.which-coordinator": Entry(
        "It is not clear which coordinator is meant; memberships here: {known}.",
        "Name it: --on URL, or set TACIT_ON. `tacit join INVITATION` makes a membership.",
    ),
    "client.no-membership": Entry(
        "There is no membership here for {on}.",
        "{hint}Ask its operator for an invitation, then run: tacit join INVITATION",
    ),
    "client.no-member": Entry(
        "There is no member {name!r}.",
        "{hint}Give a name or an id that the list shows.",
    ),
    "client.no-run": Entry(
        "No run there has an id or a name that begins with {name!r}.",
        "{hint}`tacit runs list --on URL` shows them.",
    ),
    "client.not-in-run": Entry(
        "This client takes part in no open run with the name, or an id that begins with, {name!r}.",
        "`tacit client show` lists its runs.",
    ),
    "client.rehearsal-names": Entry(
        "The rehearsal is for {asked} clients, but the data has {found}.",
        "Give as many clients as there are: --on local:{found}",
    ),
    "client.rehearsal-process": Entry(
        "The {what} of the rehearsal ended before it was ready: {problem}",
        "Run the same with TACIT_HOME set to an empty folder, or read its output above.",
    ),
    "client.run-ended": Entry(
        "The run {name!r} ended as {status}: {why}",
        "`tacit runs logs` tells what happened; mend that, then: tacit runs resume",
    ),
}
