"""Errors of the runs area: running, saving and reading runs."""

from __future__ import annotations

from tacit.base.catalogue.entry import Entry

RUNS: dict[str, Entry] = {
    "run.clients": Entry(
        "The data has {found} clients, but the federation is described for {expected}.",
        "Set `clients` in the description to the number of members, or pass their data.",
    ),
    "run.no-client": Entry(
        "No client {client!r} was in this run.",
        "{hint}Name a client of the run, or give its index.",
    ),
    "run.no-data": Entry(
        "There is no data to simulate with: {file} has no function {function}().",
        "Add `def {function}()` that returns {{client: (x, y)}}, or say where the data is: --data "
        "module:function, --data FOLDER with one CSV file a client, or --data heart_disease.",
    ),
    "run.data-source": Entry(
        "{option} {given!r} is neither a folder, nor module:function, nor a bundled data set.",
        "{hint}Give a folder with one CSV file a client, a function as module:function, or one of: "
        "{known}.",
    ),
    "run.no-csv": Entry(
        "The folder {folder} holds no CSV file.",
        "Put one CSV file for each client there; the file's name is the client's name.",
    ),
    "run.not-tables": Entry(
        "A folder of CSV files is read through the columns of the data contract, and this "
        "federation's contract is of the kind {kind!r}.",
        'Describe the columns in the federation as [data] with kind = "table", or pass arrays '
        "by --data module:function.",
    ),
    "run.no-test-split": Entry(
        "The fraction {fraction:g} of the records leaves client {client} with {train} to train on "
        "and {test} to test on.",
        "Choose another fraction, or pass the test data by --test module:function.",
    ),
    "run.policy-file": Entry(
        "The policy {file} cannot be read: {problem}.",
        "Check the path; `tacit new NAME` writes a policy.toml to start from.",
    ),
    "run.folder-exists": Entry(
        "{folder} exists already.",
        "Choose another name, or move it away first; nothing is ever written over.",
    ),
    "run.no-space": Entry(
        "{folder} was not written: {why}.",
        "Free some space there, or choose a place on another disk. Nothing half-written was left.",
    ),
    "run.cannot-write": Entry(
        "{folder} cannot be written: {why}.",
        "Choose a place where this user may write, or have the permissions changed.",
    ),
    "run.unknown": Entry(
        "There is no run called {name!r} in {folder}.",
        "{hint}`tacit runs list` shows what is there; --runs names another folder.",
    ),
    "run.not-a-run": Entry(
        "{folder} is not the folder of a run: it has no run.json.",
        "Give a folder that `tacit simulate` or `run.save` wrote.",
    ),
    "run.file-missing": Entry(
        "The run folder {folder} lacks {file}.",
        "Bring the file back from a copy, or run the federation again with the same seed.",
    ),
    "run.file-corrupt": Entry(
        "{file} in the run folder {folder} is not what was saved: {problem}.",
        "Bring the file back from a copy, or run the federation again with the same seed.",
    ),
    "run.other-federation": Entry(
        "federation.toml in the run folder {folder} is not the federation that ran: its digest is "
        "{found}..., the run's is {expected}...",
        "Undo the edit. To run a changed federation, copy the file elsewhere first.",
    ),
    "run.checkpoint-other": Entry(
        "The checkpoint in {folder} belongs to {what}.",
        "Continue with what it was made with, or give another folder for this run.",
    ),
    "run.checkpoint-damaged": Entry(
        "No checkpoint in {folder} can be read: {problem}.",
        "Bring the files back from a copy, or remove the folder to start from the beginning.",
    ),
    "run.checkpoint-format": Entry(
        "The checkpoint in {folder} was written by another version of tacit; this one reads "
        "format {known}.",
        "Finish the run with the version that began it, or give another folder.",
    ),
    "run.not-storable": Entry(
        "{name} is of the type {kind}, which a checkpoint or a store of memories cannot hold.",
        "Keep state as numpy arrays, numbers and texts, in lists, tuples and dictionaries.",
    ),
    "run.format": Entry(
        "The run folder {folder} has format {found}; this version of tacit reads format {known}.",
        "Upgrade tacit to read this run.",
    ),
}
