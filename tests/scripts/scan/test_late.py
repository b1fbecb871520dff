"""What comes late, by whole scans: a night finds what was uploaded for an earlier day after that day's scan."""

from __future__ import annotations

from support.fleet import Fleet, counted, jpeg


def test_a_night_finds_and_counts_what_came_late_and_a_rerun_counts_the_same(fleet: Fleet) -> None:
    fleet.put("2026-11-04/a.jpg", jpeg(1))
    fleet.put("2026-11-04/b.html", b"<html></html>")
    first = fleet.scan("--prefix=2026-11-04/", "--exclude=.html")
    assert (first.late, first.late_prefixes) == (0, ())
    fleet.put("2026-11-04/late.jpg", jpeg(2))
    fleet.put("2026-11-04/late.html", b"<html></html>")
    fleet.put("2026-11-05/c.jpg", jpeg(3))
    night = ("--prefix=2026-11-05/", "--late-prefix=2026-11-04/", "--exclude=.html", "--scan-id=night")
    second = fleet.scan(*night)
    assert counted(second) == {"unchanged": 1, "predicted": 2, "skipped": 2}
    assert (second.late, second.late_prefixes) == (1, ("2026-11-04/",))
    again = fleet.scan(*night)
    assert counted(again) == {"unchanged": 3, "skipped": 2}
    assert again.late == 1
    assert fleet.rows("SELECT JSON_EXTRACT(certificate, '$.late') FROM scans WHERE scan_id = 'night'") == [("1",)]


def test_a_window_in_which_nothing_was_modified_is_good_and_says_what_it_listed(fleet: Fleet) -> None:
    fleet.put("a.jpg", jpeg(1))
    with fleet.start("--until=2006-01-02", "--late-before=2006-01-01", "--since=2005-12-30") as program:
        assert program.wait() == 0, program.text()
        assert f"none of the 1 objects under s3://{fleet.bucket.name}/ was modified from 2005-12-30" in program.text()
        assert "late       none that no scan had seen before (modified before 2006-01-01T00:00" in program.text()
