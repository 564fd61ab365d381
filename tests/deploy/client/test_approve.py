from __future__ import annotations

from pathlib import Path

import pytest

import tacit
from tacit.base.errors import TacitError
from tacit.deploy.client.approve import Wanted, approve, source_digest, source_file, wanted
from tacit.deploy.client.home import Home
from tacit.deploy.client.owner import TEMPLATE, read_policy
from tacit.learn.torch import TorchTask
from tacit.plan.federation import Federation

FIRST = "raise SystemExit('an approval runs nothing')\ndef net(shape, classes):\n    return 1\n"
SECOND = FIRST.replace("return 1", "return 2")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.make_folders()
    home.policy.write_text(TEMPLATE)
    (tmp_path / "code" / "their_package").mkdir(parents=True)
    (tmp_path / "code" / "their_package" / "__init__.py").write_text("raise SystemExit(1)\n")
    return home


def folder(home: Home) -> Path:
    return home.folder.parent / "code"


def install(home: Home, source: str | bytes, module: str = "their_model") -> None:
    data = source.encode() if isinstance(source, str) else source
    (folder(home) / f"{module}.py").write_bytes(data)


def asking(source: str, name: str = "their_model:net", loss: str = "") -> Federation:
    digest = source_digest(source.encode())
    losses = (loss, source_digest(source.encode())) if loss else ("cross_entropy", "")
    return Federation(
        TorchTask(name, digest, *losses),
        clients=3,
        algorithm=tacit.fedavg(lr=0.1),
        data=tacit.arrays((2,), classes=2),
    )


def look(home: Home, federation: Federation) -> Wanted:
    (one,) = wanted(home, federation, (folder(home),))
    return one


def test_new_code_is_shown_whole_then_approved_then_nothing_is_left_to_do(home: Home) -> None:
    install(home, FIRST)
    first = look(home, asking(FIRST))
    assert (first.state, first.file) == ("new", folder(home) / "their_model.py")
    assert "+def net(shape, classes):" in first.diff
    assert approve(home, (first,)) == (first.entry,)
    assert read_policy(home).code == (first.entry,)
    again = look(home, asking(FIRST))
    assert (again.state, again.diff) == ("approved", "")
    assert approve(home, (again,)) == ()
    kept = home.folder / "approved" / f"{first.digest}.py"
    assert kept.read_text() == FIRST


def test_a_new_version_is_shown_as_what_changed_and_the_old_approval_stays(home: Home) -> None:
    install(home, FIRST)
    approve(home, (look(home, asking(FIRST)),))
    install(home, SECOND)
    second = look(home, asking(SECOND))
    assert second.state == "changed"
    assert "-    return 1" in second.diff
    assert "+    return 2" in second.diff
    assert "+def net" not in second.diff
    approve(home, (second,))
    assert [entry[-64:] for entry in read_policy(home).code] == [
        source_digest(FIRST.encode()),
        second.digest,
    ]


def test_the_policys_other_lines_and_rights_stay(home: Home) -> None:
    install(home, FIRST)
    home.policy.chmod(0o600)
    before = home.policy.read_text().splitlines()
    approve(home, (look(home, asking(FIRST)),))
    after = home.policy.read_text().splitlines()
    gone = [line for line in before if line not in after]
    assert len(gone) == 1
    assert gone[0].startswith("code = []")
    assert any(line.startswith("]") and "tacit approve" in line for line in after)
    assert home.policy.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "written",
    [
        'code = ["a:b sha256:00", # why [not]\n  "c:d sha256:11",\n]',
        "code=[\n]",
        'code = [ "a:b sha256:00" ]',
    ],
)
def test_lists_that_owners_write_are_understood(home: Home, written: str) -> None:
    text = "\n".join(
        written if line.startswith("code = []") else line for line in TEMPLATE.splitlines()
    )
    home.policy.write_text(text)
    before = read_policy(home).code
    install(home, FIRST)
    one = look(home, asking(FIRST))
    approve(home, (one,))
    assert read_policy(home).code == (*before, one.entry)


@pytest.mark.parametrize("written", ["code = ['a:]b']", ""])
def test_what_cannot_be_edited_safely_is_left_to_the_owner(home: Home, written: str) -> None:
    text = "\n".join(
        written if line.startswith("code = []") else line for line in TEMPLATE.splitlines()
    )
    home.policy.write_text(text)
    install(home, FIRST)
    one = look(home, asking(FIRST))
    with pytest.raises(TacitError) as caught:
        approve(home, (one,))
    assert caught.value.code == "policy.edit"
    assert one.entry in str(caught.value)
    assert home.policy.read_text() == text


def test_code_that_is_not_here_or_is_another_cannot_be_approved(home: Home) -> None:
    missing = look(home, asking(FIRST))
    assert (missing.state, missing.file, missing.diff) == ("missing", None, "")
    install(home, SECOND)
    other = look(home, asking(FIRST))
    assert other.state == "differs"
    for one, code in ((missing, "policy.code-missing"), (other, "policy.code-differs")):
        with pytest.raises(TacitError) as caught:
            approve(home, (one,))
        assert caught.value.code == code
    assert read_policy(home).code == ()


def test_what_changes_between_looking_and_approving_is_not_approved(home: Home) -> None:
    install(home, FIRST)
    seen = look(home, asking(FIRST))
    install(home, SECOND)
    with pytest.raises(TacitError) as caught:
        approve(home, (seen,))
    assert caught.value.code == "policy.code-differs"
    assert not (home.folder / "approved").exists()


def test_a_package_is_found_without_being_imported(home: Home) -> None:
    install(home, FIRST, "their_package/nets")
    name = "their_package.nets:net"
    assert look(home, asking(FIRST, name)).state == "new"
    assert source_file("their_package:x", (folder(home),)) == (
        folder(home) / "their_package" / "__init__.py"
    )
    assert source_file("no_such_module:x") is None
    assert source_file("their_package.no.such:x", (folder(home),)) is None


def test_model_and_loss_are_approved_each(home: Home) -> None:
    install(home, FIRST)
    found = wanted(home, asking(FIRST, loss="their_model:loss"), (folder(home),))
    assert [one.name for one in found] == ["their_model:net", "their_model:loss"]
    assert len(approve(home, found)) == 2
    code = asking(FIRST, loss="their_model:loss").task.code
    assert read_policy(home).rules("d", code).code == (code,)


def test_code_cannot_hide_from_who_reads_it(home: Home) -> None:
    source = "safe = 1 # \u202e\x1b[2K\x08 evil\r\nx = 2\r\n"
    install(home, source)
    one = look(home, asking(source))
    assert one.state == "new"
    assert "+safe = 1 # \\u202e\\x1b[2K\\x08 evil" in one.diff
    assert all(c.isprintable() or c == "\n" for c in one.diff)


def test_tacits_own_tasks_need_no_approval(home: Home) -> None:
    federation = asking(FIRST).replace(task=tacit.numpy.logistic_regression())
    assert wanted(home, federation) == ()
