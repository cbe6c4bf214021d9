"""benchmarks/robustness.py: its quick sections."""

import pytest


def test_bad_input_is_told_before_training(benchmarks, capsys):
    import robustness

    assert robustness.main(["--only", "input"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == len(list(robustness.bad_tables()))


def test_a_row_that_is_not_as_it_should_be(benchmarks, capsys, monkeypatch):
    import robustness

    bad = [("nothing wrong", lambda: None, "NaN")]
    monkeypatch.setattr(robustness, "bad_tables", lambda: bad)
    assert robustness.main(["--only", "input"]) == 1
    assert "| no error |" in capsys.readouterr().out


@pytest.mark.slow
def test_lost_workers(benchmarks, capsys):
    import robustness

    assert robustness.main(["--only", "workers"]) == 0
