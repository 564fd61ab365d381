"""`tacit client log` tells the whole diary, however long it is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from click.testing import CliRunner

from tacit.cli.main import main
from tacit.deploy.client.database import open_ledger
from tacit.deploy.client.diary import note
from tacit.deploy.client.home import Coordinator, Home, coordinator_text
from tacit.deploy.client.owner import TEMPLATE
from tacit.deploy.identity.keys import Identity


def test_a_long_diary_is_told_to_its_end(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make_folders()
    facts = Coordinator("https://coordinator", "0" * 32, "zurich", "client", "", "")
    home.coordinator.write_text(coordinator_text(facts), "utf-8")
    home.policy.write_text(TEMPLATE, "utf-8")
    Identity.create(home.key)
    with closing(open_ledger(home)) as ledger, ledger.write() as connection:
        for number in range(2500):
            note(connection, 1.8e9 + number, f"line {number}.")
    told = CliRunner().invoke(main, ["client", "log", "--home", str(home.folder)])
    assert told.exit_code == 0, told.output
    lines = told.output.splitlines()
    assert len(lines) == 2500
    assert lines[-1].endswith("line 2499.")
