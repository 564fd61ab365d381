from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tacit.cli.new import FILES, scaffold
from tacit.plan.federation import Federation
from tests.cli.scenes import process, refused, said, tacit

KINDS = [pytest.param("numpy"), pytest.param("torch", marks=pytest.mark.torch)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_runs_as_it_is(kind: str, place: Path) -> None:
    made = tacit("new", "trial", "--kind", kind)
    assert made.exit_code == 0, made.output
    names = {path.name for path in Path("trial").iterdir()}
    assert names == set(FILES) - (set() if kind == "torch" else {"model.py"})
    assert all(name in made.stdout for name in names)

    checked = said("check", "trial/app.toml", "--policy", "trial/policy.toml")
    assert checked["policy"] == {"accepted": True, "reasons": []}
    ran = said("simulate", "trial/app.toml")
    assert ran["final"]["accuracy"] > 0.85
    assert ran["name"] == "trial"
    assert ran["problems"] == []
    assert Path(ran["folder"]).parent == Path("runs")


def test_it_runs_from_inside_in_a_process_of_its_own(tmp_path: Path) -> None:
    assert process("new", "trial", folder=tmp_path).returncode == 0
    done = process("simulate", "--quiet", folder=tmp_path / "trial")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "trial" / done.stdout.strip() / "run.json").is_file()


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_every_setting_of_the_description_is_explained(kind: str) -> None:
    settings = [
        line
        for line in scaffold("trial", kind)["app.toml"].splitlines()
        if " = " in line and not line.startswith(("#", "source"))
    ]
    assert len(settings) > 15
    assert [line for line in settings if "  # " not in line] == []


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_the_python_files_are_well_formed_and_short_lined(kind: str) -> None:
    for name, text in scaffold("trial", kind).items():
        if name.endswith(".py"):
            compile(text, name, "exec")
        assert max(map(len, text.splitlines())) <= 100 + 20 * ("sha256" in text)
        assert "$" not in text.replace("$ tacit", "")


def test_the_noise_that_the_comments_propose_makes_a_plan(place: Path) -> None:
    """What the description says of differential privacy is followed to the letter."""
    text = scaffold("trial", "numpy")["app.toml"]
    start = text.index("# [[protect]]")
    end = text.index("\n\n", start)
    noise = "\n".join(line.removeprefix("# ") for line in text[start:end].splitlines())
    mean = 'kind = "mean"                    # divide by the summed weights'
    noised = text[:start] + noise + text[end:].replace(mean, f"{mean}\nover = -1.0")
    trust = Federation.from_toml(noised).check()
    assert any(claim.holds for claim in trust.plan.claims)
    assert any("hardly learn" in warning for warning in trust.plan.warnings)


def test_a_name_with_quotes_or_a_path_still_reads(place: Path) -> None:
    assert tacit("new", 'a/b/My "best" \\ model').exit_code == 0
    (made,) = Path("a/b").iterdir()
    assert Federation.load(made / "app.toml").name == "My best  model"


def test_json_says_what_was_made(place: Path) -> None:
    answer = said("new", "trial")
    assert answer["folder"] == "trial"
    assert answer["files"] == ["app.toml", "app.py", "policy.toml", "README.md"]
    assert answer["next"][0] == "cd trial"


def test_an_existing_folder_is_left_alone(place: Path) -> None:
    Path("trial").mkdir()
    Path("trial/mine").write_text("mine")
    assert refused("new", "trial")["code"] == "run.folder-exists"
    assert [path.name for path in Path("trial").iterdir()] == ["mine"]


def test_a_full_disk_leaves_no_folder(tmp_path: Path) -> None:
    limited = (
        "import resource, sys\n"
        "from tacit.cli import new\n"
        "from tacit.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "main(['new', 'trial'], prog_name='tacit')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1
    assert "trial was not written: file too large" in done.stderr
    assert list(tmp_path.iterdir()) == []
