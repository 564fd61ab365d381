"""Errors of the coordinator: members, runs, routes."""

from __future__ import annotations

from tacit.base.catalogue.entry import Entry

COORDINATOR: dict[str, Entry] = {
    "deploy.internal": Entry(
        "The coordinator failed at this request (incident {incident}).",
        "Tell the operator the incident's number: the log has the details under it.",
    ),
    "deploy.draining": Entry(
        "The coordinator is about to stop and takes no new work.",
        "Repeat in a moment: it is usually back at once.",
    ),
    "deploy.no-route": Entry(
        "There is nothing at {path}.",
        "See /openapi.json for what there is.",
    ),
    "deploy.no-method": Entry(
        "{path} does not know the method {method}.",
        "Use one of: {allowed}.",
    ),
    "deploy.too-large": Entry(
        "The body of the request has more than {limit} bytes.",
        "Send less: answers and starts travel in chunks, everything else is small.",
    ),
    "deploy.not-json": Entry(
        "The body of the request is not JSON: {problem}.",
        "Send what /openapi.json describes.",
    ),
    "deploy.meaning": Entry(
        "The request means nothing here: {problem}.",
        "Send what /openapi.json describes; both sides need the same release of tacit.",
    ),
    "deploy.cut": Entry(
        "The request ended before its body was complete.",
        "Send the rest: GET on the same address says how much is here.",
    ),
    "deploy.slow": Entry(
        "The next bytes of the request's body did not come within {seconds} seconds.",
        "Send the rest: GET on the same address says how much is here. Look at the network if it "
        "goes on.",
    ),
    "deploy.encoding": Entry(
        "The body of the request is encoded ({encoding}), and bodies are taken only as they are.",
        "Send it without Content-Encoding, and look for a proxy on the way that compresses.",
    ),
    "deploy.decisions": Entry(
        "{name} has decided about the run {run} more than {limit} times.",
        "Leave the run, and talk to its researcher.",
    ),
    "deploy.enrolments": Entry(
        "Too many enrolments were tried within a minute.",
        "Wait {seconds} seconds. If it was not you, somebody guesses invitations: the operator "
        "finds them in the log.",
    ),
    "deploy.no-run": Entry(
        "There is no run {run}, or it is not yours to see.",
        "`tacit runs list` shows your runs.",
    ),
    "deploy.no-blob": Entry(
        "There is no file {digest} for you here.",
        "Ask for the offer of your current turn, or for the result of your own run.",
    ),
    "deploy.no-result": Entry(
        "The run {run} has no model yet.",
        "Wait until it has closed a round: `tacit runs show {run}` tells how far it is.",
    ),
    "deploy.run-differs": Entry(
        "There is a run {run} already, and it is another one.",
        "Submit with a new id.",
    ),
    "deploy.digest": Entry(
        "The description's digest is {found}, not {declared} as declared.",
        "Submit with the same release of tacit that the coordinator runs.",
    ),
    "deploy.description": Entry(
        "Nothing can be built from the description: {problem}.",
        "Build it with tacit.Federation, whose checks say what is wrong where.",
    ),
    "deploy.secure-sum-simulated": Entry(
        "The plan's secure sum is simulated in this version: the coordinator would receive every "
        "single answer.",
        "Give the run a seed to rehearse it, or use a chain whose claims hold without a secure "
        "sum, such as local noise.",
    ),
    "deploy.too-much": Entry(
        "The coordinator does not take {what}.",
        "Make the federation smaller.",
    ),
    "deploy.queue": Entry(
        "{open} runs are open already.",
        "Wait until one is over, or stop one that nobody needs.",
    ),
    "deploy.clients": Entry(
        "The run lists {listed} clients, its description speaks of {clients}; each is named once.",
        "List as many different names as `clients` says, or none.",
    ),
    "deploy.outline": Entry(
        "The task is user code, which a coordinator never loads, and the outline of its model is "
        "of no use: {problem}.",
        "Submit with tacit's own client, which sends the outline and the model's start.",
    ),
    "deploy.outlined": Entry(
        "The coordinator has only the outline of this task and can compute nothing with it.",
        "Compute at a client, which has the code.",
    ),
    "deploy.start": Entry(
        "The uploaded start of the model does not fit: {problem}.",
        'Upload a pack {{"params": vector}} made from plan.start.',
    ),
    "deploy.no-start": Entry(
        "The run {run} takes no start: it makes its own, or has begun.",
        "Upload a start only for a run whose task is user code, once.",
    ),
    "deploy.full": Entry(
        "The run {run} has no place for {name}.",
        "Its researcher lists the clients by name, or all places are taken.",
    ),
    "deploy.over": Entry(
        "The run {run} is over: {status}.",
        "Submit it anew to run it again.",
    ),
    "deploy.not-joined": Entry(
        "{name} has not joined the run {run}.",
        "Join it first.",
    ),
    "deploy.joining": Entry(
        "The joining of {name} does not hold: {problem}.",
        "Join with tacit's own client, which signs the run, its description and the data set.",
    ),
    "deploy.elsewhere": Entry(
        "Another coordinator on the same database drives the run {run}.",
        "Ask that one; this one takes over when it is gone.",
    ),
    "deploy.answer-size": Entry(
        "The answer of client {client} to round {round} has {size} bytes; at most {limit} fit the "
        "plan.",
        "Answer with the vector that the plan describes.",
    ),
    "deploy.answer-residue": Entry(
        "The answer of client {client} to round {round} has numbers outside 0 to 2^{bits} - 1.",
        "Both sides need the same release of tacit and the same description.",
    ),
    "deploy.range": Entry(
        "The file has {size} bytes, and the range asked for is not in it.",
        "Ask for bytes that are there.",
    ),
    "deploy.port": Entry(
        "The coordinator cannot listen at {host}, port {port}: {why}.",
        "Choose another port with --port, or end the program that uses this one.",
    ),
    "member.unknown": Entry(
        "There is no member with the key {keyid}.",
        "Enrol first with an invitation: `tacit join`.",
    ),
    "member.revoked": Entry(
        "The membership of {name} was revoked.",
        "Ask the operator why. A new membership needs a new invitation and a new key.",
    ),
    "member.role": Entry(
        "{name} is enrolled as {role}, which may not do this.",
        "Ask a member with the role {needed}, or the operator for an invitation to it.",
    ),
    "member.key": Entry(
        "The request is not signed by the key that it enrols.",
        "Sign an enrolment with the new key itself, as `tacit join` does.",
    ),
    "member.name": Entry(
        "The invitation is for {invited}, not for {name}.",
        "Join under the name of the invitation, or ask the operator for another one.",
    ),
    "member.none": Entry(
        "There is no member {member}.",
        "`tacit members` lists them.",
    ),
    "member.name-odd": Entry(
        "The name {name} cannot be taken: {problem}.",
        "Choose a name that nobody can mistake for another's, in letters of one script.",
    ),
    "member.self": Entry(
        "{name} cannot do this to itself.",
        "Ask another member.",
    ),
    "member.vouch": Entry(
        "The vouch of {name} has a signature that does not hold.",
        "Vouch with tacit's own client.",
    ),
    "member.submission": Entry(
        "The run is not signed by {name}, so no client could know who asks for it.",
        "Submit with `tacit run` or `tacit.submit`.",
    ),
    "round.absent": Entry(
        "Client {client} was not there in round {round}.",
        "Start `tacit client` at its site; it takes part in later rounds.",
    ),
    "round.not-asked": Entry(
        "No answer of client {client} to round {round} is waited for.",
        "Nothing is wrong if the answer was late; it takes part in later rounds.",
    ),
}
"""Codes of requests (request.*) are the wire's."""
