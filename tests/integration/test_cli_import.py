"""`import`: what is sound is stored whole, what is not is refused whole, with its row and reason."""

import pytest

from tests.integration.cli import bhavcast, running
from tests.reference_files import legacy, legacy_file, master_file, scrip


@pytest.fixture
def data(tmp_path):
    return tmp_path / "var"


@pytest.fixture
def write(tmp_path):
    def written(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return written


def test_a_master_is_imported_and_reported(data, write):
    path = write("master.csv", master_file(scrip(600001), scrip(600002)))
    answer = bhavcast("import", "master", path, "--data", data)
    assert answer.code == 0
    assert "Imported master.csv: 2 rows" in answer.out


def test_the_report_as_json_has_the_counts(data, write):
    path = write("EQ110926.CSV", legacy_file(legacy(600001), legacy(600002)))
    answer = bhavcast("import", "bhavcopy", path, "--json", "--data", data)
    assert answer.code == 0
    told = answer.json
    assert (told["kind"], told["date"], told["rows"], told["provisional"]) == ("bhavcopy", "2026-09-11", 2, 2)


def test_a_bad_row_is_named_and_nothing_is_changed(data, write):
    good = write("master.csv", master_file(scrip(600001)))
    assert bhavcast("import", "master", good, "--data", data).code == 0
    before = sorted(path.name for path in (data / "reference").glob("*.ref"))
    bad = write("bad.csv", master_file(scrip(600001), scrip("nonsense")))
    answer = bhavcast("import", "master", bad, "--data", data)
    assert answer.code == 1
    assert "bad.csv was refused: row 3: " in answer.err
    assert "nothing was changed; the last good file stays" in answer.err
    assert sorted(path.name for path in (data / "reference").glob("*.ref")) == before


@pytest.mark.parametrize("kind", ["master", "bhavcopy"])
def test_a_web_page_in_place_of_a_file_is_refused(kind, data, write):
    page = write("EQ110926.CSV", b"<!DOCTYPE html>\n<html><body>Not found</body></html>\n")
    answer = bhavcast("import", kind, page, "--data", data)
    assert answer.code == 1
    assert "web page" in answer.err


def test_the_first_refusal_ends_it_and_what_came_before_stays(data, write):
    first = write("EQ100926.CSV", legacy_file(legacy(600001)))
    second = write("EQ110926.CSV", b"")
    third = write("EQ140926.CSV", legacy_file(legacy(600001)))
    answer = bhavcast("import", "bhavcopy", first, second, third, "--data", data)
    assert answer.code == 1
    assert "Imported EQ100926.CSV" in answer.out
    assert "Imported EQ140926.CSV" not in answer.out
    assert "1 of 3 files were imported before it" in answer.err


def test_a_day_other_than_the_one_expected_is_refused(data, write):
    path = write("EQ110926.CSV", legacy_file(legacy(600001)))
    answer = bhavcast("import", "bhavcopy", path, "--date", "2026-09-10", "--data", data)
    assert answer.code == 1
    assert "2026-09-1" in answer.err


@pytest.mark.parametrize("arguments", [["master"], ["bhavcopy", "x.csv", "--date", "tomorrow"], ["prices", "x.csv"]])
def test_wrong_usage_is_said(arguments, data):
    answer = bhavcast("import", *arguments, "--data", data)
    assert answer.code == 2
    assert answer.err.startswith("error: ")


def test_a_file_that_is_not_there_is_said(data):
    answer = bhavcast("import", "master", "/nonexistent.csv", "--data", data)
    assert answer.code == 1
    assert "No such file" in answer.err


@pytest.mark.slow
def test_a_running_system_serves_a_new_scrip_at_once(data, write):
    write("bhavcast.toml", b"")
    path = write("new.csv", master_file(scrip(600001, TckrSymb="NEWCOMER")))
    with running(data, "--scrips", 30) as system:
        assert bhavcast("quote", "NEWCOMER", "--url", system.url).code == 1
        answer = bhavcast("import", "master", path, "--now", "--data", data)
        assert answer.code == 0
        assert "has taken it up" in answer.err
        told = bhavcast("quote", "NEWCOMER", "--json", "--url", system.url).json[0]
        assert told.get("error", {}).get("code") != "unknown_symbol"
