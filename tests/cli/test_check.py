from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

import tacit as api
from tacit.cli.check import SEES, VIEWS
from tacit.cli.client_code import client_code
from tests.cli.scenes import refused, said, small, tacit

GOLDEN = Path(__file__).parent / "golden"

SOURCE = Path(api.__file__).parent

MODEL = """\
from torch import nn

from layers import WIDTH


def model():
    return nn.Linear(WIDTH, 2)
"""


def private() -> api.Federation:
    return api.Federation(
        task=api.numpy.logistic_regression(),
        data=api.arrays(shape=(4,), classes=3),
        algorithm=api.fedsgd(lr=0.5),
        protect=api.record_dp(epsilon=2.0, delta=1e-5, clip=1.0, sample=0.2),
        clients=5,
        rounds=10,
        metrics=("loss",),
        name="a private one",
    )


def noisy() -> api.Federation:
    """Client-level noise with three clients: sound, and hopeless."""
    return private().replace(
        algorithm=api.fedavg(lr=0.1),
        protect=api.central_dp(epsilon=1.0, delta=1e-5, clip=1.0),
        clients=3,
        metrics=(),
        name="a noisy one",
    )


def written(federation: api.Federation, place: Path) -> Path:
    path = place / "app.toml"
    path.write_text(federation.to_toml(), "utf-8")
    return path


@pytest.mark.parametrize("name", ["plain", "private", "noisy", "coordinator", "refused"])
def test_the_statement_reads_as_it_did(name: str, place: Path) -> None:
    """Regenerate with TACIT_WRITE_GOLDEN=1, and read the difference."""
    plain = small(place).read_text()
    noised = {"noisy": noisy, "private": private, "coordinator": private}
    text = noised[name]().to_toml() if name in noised else plain
    (place / "app.toml").write_text(text, "utf-8")
    (place / "policy.toml").write_text('minimum_cohort = 6\nrequired = ["clip"]\nepsilon = 1.0\n')
    arguments = {"coordinator": ["--party", "coordinator"], "refused": ["--policy", "policy.toml"]}
    result = tacit("check", *arguments.get(name, []))
    assert result.exit_code == (1 if name == "refused" else 0), result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("TACIT_WRITE_GOLDEN") == "1":
        golden.write_text(result.stdout, "utf-8")
    assert result.stdout == golden.read_text("utf-8"), "TACIT_WRITE_GOLDEN=1 writes it anew"


def test_json_holds_the_statement_the_claims_and_the_costs(place: Path) -> None:
    written(private(), place)
    answer, plan = said("check"), private().plan()
    assert answer["digest"] == plan.digest
    assert [(s["topic"], s["text"]) for s in answer["statement"]] == list(api.trust(plan).sentences)
    assert answer["cost"]["total"] == plan.cost.total
    claims = {(c["hides"], c["against"]): c["epsilon"] for c in answer["claims"]}
    for claim in plan.claims:
        expected = claim.epsilon if claim.holds else None
        assert claims[claim.hides, claim.against] == expected
    assert said("check")["warnings"] == list(plan.warnings)


@pytest.mark.parametrize("party", VIEWS)
@pytest.mark.parametrize("federation", [private(), noisy()], ids=lambda f: f.name)
def test_a_party_is_shown_what_concerns_it(
    party: str, federation: api.Federation, place: Path
) -> None:
    written(federation, place)
    answer = said("check", "--party", party)
    mine = [sentence["text"] for sentence in answer["statement"] if sentence["topic"] == SEES]
    others = [view for name, view in VIEWS.items() if name != party]
    assert sum(text.startswith(VIEWS[party].begins) for text in mine) == 1
    assert not any(text.startswith(view.begins) for text in mine for view in others)
    assert {claim["against"] for claim in answer["claims"]} == {VIEWS[party].party}


def test_a_client_sees_every_module_that_it_runs_with_its_digest(place: Path) -> None:
    written(private(), place)
    code = said("check", "--party", "client")["client"]
    modules = {module["name"]: module for module in code["modules"]}
    assert {"tacit.round.turn", "tacit.learn.numpy", "tacit.plan.policy"} <= set(modules)
    assert not any(name.startswith(("tacit.cli", "tacit.sim", "tacit.record")) for name in modules)
    content = (SOURCE / "round" / "turn.py").read_bytes()
    turn = modules["tacit.round.turn"]
    assert turn["sha256"] == hashlib.sha256(content).hexdigest()
    assert turn["lines"] == len(content.splitlines())
    assert {"numpy", "msgspec", "dp-accounting"} <= set(code["packages"])
    assert (code["own"], code["named"]) == ([], [])
    shown = tacit("check", "--party", "client").stdout
    assert f"The code that a client runs: {len(modules)} modules" in shown
    assert turn["sha256"][:16] in shown


@pytest.fixture
def torch_app(place: Path) -> Path:
    """A federation whose model imports another file of the user's."""
    assert tacit("new", "app", "--kind", "torch").exit_code == 0
    Path("app/model.py").write_text(MODEL)
    Path("app/layers.py").write_text("WIDTH = 2\n")
    return Path("app/app.toml")


@pytest.mark.torch
def test_a_users_own_code_is_named_with_what_it_imports(torch_app: Path) -> None:
    assert tacit("check", torch_app, "--renew-code").exit_code == 0
    code = client_code(torch_app)
    assert [module.name for module in code.own] == ["layers", "model"]
    digest = hashlib.sha256(MODEL.encode()).hexdigest()
    assert code.named == (f"model:model sha256:{digest}",)
    assert "tacit.learn.torch_model" in {module.name for module in code.modules}


@pytest.mark.torch
def test_changed_code_is_refused_until_its_digest_is_renewed(torch_app: Path) -> None:
    before = torch_app.read_text()
    assert refused("check", torch_app)["code"] == "task.code-changed"
    result = tacit("check", torch_app, "--renew-code")
    assert result.exit_code == 0, result.output
    assert "model:model" in result.stderr
    after = torch_app.read_text()
    changed = [(a, b) for a, b in zip(before.split("\n"), after.split("\n"), strict=True) if a != b]
    assert len(changed) == 1  # the comments stay
    assert hashlib.sha256(MODEL.encode()).hexdigest() in changed[0][1]
    assert tacit("check", torch_app, "--policy", "app/policy.toml").exit_code == 1


def test_a_policy_that_accepts_ends_with_0(place: Path) -> None:
    written(private(), place)
    Path("policy.toml").write_text('required = ["clip_examples", "secure_sum"]\nepsilon = 2.5\n')
    answer = said("check", "--policy", "policy.toml")
    assert answer["policy"] == {"accepted": True, "reasons": []}
    assert "accepts this federation" in tacit("check", "--policy", "policy.toml").stdout


def test_a_policy_that_refuses_ends_with_1_and_every_reason(place: Path) -> None:
    small(place)
    Path("policy.toml").write_text('minimum_cohort = 4\nrequired = ["clip"]\nepsilon = 1.0\n')
    answer = said("check", "--policy", "policy.toml", status=1)
    reasons = answer["policy"]["reasons"]
    assert not answer["policy"]["accepted"]
    assert len(reasons) == 4  # cohort, single answers, clip, epsilon
    shown = " ".join(tacit("check", "--policy", "policy.toml").stdout.split())
    assert all(reason in shown for reason in reasons)


def test_a_policy_with_a_typo_names_the_line(place: Path) -> None:
    small(place)
    Path("policy.toml").write_text("minimum_cohort = 4\nepsilonn = 1.0\n")
    error = refused("check", "--policy", "policy.toml")
    assert "policy.toml, line 2" in error["cause"]
    assert "'epsilon'" in error["remedy"]
    assert refused("check", "--policy", "none.toml")["code"] == "run.policy-file"


def test_an_unsound_chain_is_refused_with_its_remedy(place: Path) -> None:
    path = small(place)
    path.write_text(f'{path.read_text()}\n[[protect]]\nkind = "clip"\nnorm = 1.0\n')
    error = refused("check")
    assert error["code"] == "chain.empty"
    assert refused("check", "none.toml")["code"] == "description.file"
