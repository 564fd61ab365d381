from __future__ import annotations

import base64
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

import tacit
from tacit.base.errors import TacitError
from tacit.plan.trust import size
from tacit.record.report import report, write_report
from tacit.sim.faults import Fault
from tests.record.small_runs import federation, noised, records, run

VOID = {"meta", "img"}
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "header", "section", "h1", "h2", "h3", "p",
    "ul", "ol", "li", "dl", "dt", "dd", "div", "table", "thead", "tbody", "tr", "th", "td", "img",
    "pre", "details", "summary",
}  # fmt: skip


class Page(HTMLParser):
    """Tags in order, their attributes, and whether every tag is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", unescape(text))


def test_every_sentence_of_the_trust_statement_about_what_is_done_and_seen_is_there() -> None:
    found = run(noised())
    text = plain(Page(report(found)).text)
    for topic in ("What is learned", "What is done to an answer, in order", "Who sees what"):
        said = [s.text for s in found.trust.sentences if s.topic == topic]
        assert said
        assert all(plain(sentence) in text for sentence in said)


def test_every_claim_is_there_with_what_it_assumes() -> None:
    found = run(noised())
    text = Page(report(found)).text
    assert any(claim.holds for claim in found.claims)
    for claim in found.claims:
        assert f"one {claim.hides}" in text
        assert str(claim.against) in text
        if claim.holds:
            assert f"{claim.epsilon:.2f}" in text
            assert all(assumed in text for assumed in claim.assumes)


def test_numbers_digest_seed_and_versions_are_there() -> None:
    found = run(seed=7)
    text = Page(report(found)).text
    assert found.final is not None
    for expected in (
        f"{100 * found.final.accuracy:.1f} %",
        *(f"{100 * one.accuracy:.1f} %" for one in found.final.clients.values()),
        size(found.bytes),
        found.plan.digest,
        "seed=7",
        tacit.__version__,
        found.plan.federation.to_toml(),
    ):
        assert expected in text


def test_a_simulation_is_called_one() -> None:
    assert "This was a simulation" in report(run())
    assert "no cryptography ran" in report(run(noised()))
    assert "no cryptography ran" not in report(run())


def test_the_page_is_well_formed_and_needs_nothing_from_outside() -> None:
    text = report(run(noised()))
    page = Page(text)
    assert page.open == []
    assert {tag for tag, _ in page.tags} <= ALLOWED
    for tag, attributes in page.tags:
        assert "href" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        if tag == "img":
            assert (attributes["src"] or "").startswith("data:image/svg+xml;base64,")
            assert attributes["alt"]
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_its_pictures_need_nothing_from_outside_either() -> None:
    sources = re.findall(r"base64,([A-Za-z0-9+/=]+)", report(run()))
    assert len(sources) == 1
    picture = base64.b64decode(sources[0]).decode()
    assert "<svg" in picture
    assert not re.search(r"""(href|src)=["'](?!#)""", picture)
    assert not re.search(r"url\((?!#)", picture)
    assert "<script" not in picture


def test_names_cannot_write_html() -> None:
    bad = "<script>alert('x')</script> & \"co\""
    held = {bad: records(0)["North"], "South": records(0)["South"]}
    described = federation(name=bad, clients=2)
    text = report(tacit.simulate(described, held, test=held))
    assert "<script" not in text
    page = Page(text)
    assert page.open == []
    assert {tag for tag, _ in page.tags} <= ALLOWED
    assert page.text.count(bad) >= 3  # title, heading, and the client's row


def test_failures_are_told_with_their_remedy() -> None:
    def faults(round_: int, client: int) -> Fault:
        return Fault(fail="round.lost") if (round_, client) == (1, 2) else Fault()

    found = tacit.simulate(federation(quorum=2), records(0), faults=faults)
    (problem,) = found.problems
    text = plain(Page(report(found)).text)
    assert plain(problem.error.cause) in text
    assert plain(problem.error.remedy) in text
    assert "None." not in text


def test_a_regression_is_told_by_its_loss_and_no_accuracy() -> None:
    described = federation(
        task=tacit.numpy.ridge_regression(), data=tacit.arrays(shape=(2,), classes=0)
    )
    found = run(described)
    assert found.final is not None
    text = Page(report(found)).text
    learned = text[text.index("What was learned") : text.index("What is promised")]
    assert "%" not in learned
    expected = f"mean loss on all test records{found.final.loss:.3f}"
    assert expected in text.replace("\n", "")


def test_of_very_many_clients_and_failures_some_are_listed() -> None:
    held = {f"site-{i}": pair for i in range(20) for pair in records(i, count=5).values()}
    held |= {f"{name}-{i}": p for i in range(20) for name, p in records(i, count=5).items()}
    described = federation(clients=len(held), quorum=2, rounds=1)
    found = tacit.simulate(
        described, held, test=held, faults=lambda _, client: Fault(fail="round.lost" * (client > 5))
    )
    page = Page(report(found))
    assert "Of 80 clients the 50 worst are listed." in page.text
    assert "The first 50 of 74 failures are listed." in page.text
    assert found.final is not None
    worst = min(found.final.clients, key=lambda name: found.final.clients[name].accuracy)  # type: ignore[union-attr]  # asserted above
    assert worst in page.text


def test_warnings_are_told() -> None:
    drowned = federation(protect=tacit.local_dp(epsilon=1, delta=1e-5, clip=0.1))
    found = tacit.simulate(drowned, records(0))
    assert found.warnings
    text = plain(Page(report(found)).text)
    assert all(plain(warning) in text for warning in found.warnings)


def test_without_test_records_it_says_so() -> None:
    text = report(run(test=False))
    assert "No test records were given" in text
    assert not re.search(r"\bnan\b", Page(text).text)


def test_the_file_is_the_page(tmp_path: Path) -> None:
    found = run()
    write_report(found, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text("utf-8") == report(found)
    found.report(tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "report.html").read_bytes()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(TacitError) as refused:
        write_report(run(), tmp_path / "missing" / "report.html")
    assert refused.value.code == "data.cannot-write"
