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
    "run.tune-no-candidate": Entry(
        "None of the candidates could be trained. The last cause: {problem}",
        "Compare lower learning rates, or methods that the protections allow.",
    ),
    "run.tune-no-score": Entry(
        "A regression has no bounded score, so validation under privacy noise cannot be noised.",
        "Choose the method and the learning rate on public data, or without noise on mock data.",
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
    "run.csv-line": Entry(
        "{file}, line {line}: {problem}.",
        "Mend that line of the file; the how-to on devices shows both kinds of files.",
    ),
    "run.device-missing": Entry(
        "Client {client} has no line in {file}, so its device is not known.",
        "Add a line for it: client,step,down,up.",
    ),
    "run.nobody-there": Entry(
        "After {moment:g} virtual seconds the trace never has {needed} clients there at once.",
        "Lower the quorum, let the trace repeat with `period`, or give a longer one.",
    ),
    "run.trace-amplification": Entry(
        "The plan claims privacy for clients that are drawn by independent coins, but with a trace "
        "of who is there, whom a round can draw depends on how long earlier rounds took and so on "
        "who was drawn for them.",
        "Leave the trace out, or draw a fixed number of clients, by which nothing is claimed.",
    ),
    "run.engine": Entry(
        "There is no engine {engine!r}.",
        "{hint}Choose one of: {known}.",
    ),
    "run.engine-alone": Entry(
        'The engine "{engine}" works alone, so `workers` means nothing to it.',
        "Leave `workers` out, or choose an engine that has some: {crews}.",
    ),
    "run.worker-main": Entry(
        "The code {code} is part of the script or notebook itself, which other processes cannot "
        "import.",
        'Move it to a module of its own and import it from there, or choose engine="exact".',
    ),
    "run.worker-send": Entry(
        "The {what} cannot be sent to other processes: {problem}.",
        "Define its classes at the top level of a module that can be imported (not in the script "
        'or notebook itself) and let it hold paths, not open files; or choose engine="exact".',
    ),
    "run.worker-start": Entry(
        "A worker process {why} before it could begin.",
        'Ask for fewer with `workers`, free some memory, or choose engine="exact".',
    ),
    "run.worker-failed": Entry(
        "A worker process cannot go on: {problem}.",
        'Run with engine="exact" to see whether it is the code of the task or the processes.',
    ),
    "run.answer-lost": Entry(
        "The answer of client {client} to round {round} was lost with its process, and computing "
        "it again failed: {problem}.",
        "Turns must follow from the data and tacit's keys alone: look for other randomness, "
        'clocks or files in the code of the task; or choose engine="exact".',
    ),
    "run.no-shared-memory": Entry(
        "The engine needs {wanted} MB of shared memory, and {free} MB are free.",
        "Make /dev/shm larger (in a container: --shm-size), pass clients that read their data "
        'when they are asked, or choose engine="exact".',
    ),
    "run.engine-buffered": Entry(
        "The engine {engine!r} computes whole rounds; in buffered rounds clients come one by one.",
        "Leave `engine` out, or use synchronous rounds.",
    ),
    "run.format": Entry(
        "The run folder {folder} has format {found}; this version of tacit reads format {known}.",
        "Upgrade tacit to read this run.",
    ),
    "run.client-failed": Entry(
        "{client} did not answer round {round}: {code}.",
        "`tacit runs logs` tells what the client said; its owner sees more in `tacit client log`.",
    ),
    "run.not-identical": Entry(
        "The model of the processes ({deployed}) is not the simulation's ({simulated}).",
        "Set OMP_NUM_THREADS=1 and try again; if it stays so, this is a defect: please report it.",
    ),
}
