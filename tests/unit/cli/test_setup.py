"""`mulligan setup`: queues and ledger are made once, and told."""


def test_setup_makes_what_is_missing_although_a_start_would_not(application, mulligan, monkeypatch):
    monkeypatch.setenv("MULLIGAN_CREATE_QUEUES", "False")

    code, out, err = mulligan("setup")

    assert (code, err) == (0, "")
    assert out == (
        "queues  sqlite:///var/mulligan.db: made msgparser-requests-q, msgparser-rejects-q, msgparser-dead-q\n"
        "ledger  sqlite:///var/ledger.db: ready\n"
    )
    assert (application / "var" / "ledger.db").exists()


def test_setup_changes_nothing_when_all_is_there(application, mulligan):
    mulligan("setup")

    code, out, _ = mulligan("setup")

    assert code == 0
    assert ": found msgparser-requests-q, msgparser-rejects-q, msgparser-dead-q\n" in out


def test_setup_tells_a_wrong_setting_and_makes_nothing(application, mulligan, monkeypatch):
    monkeypatch.setenv("MULLIGAN_LEASE_S", "soon")

    code, _, err = mulligan("setup")

    assert code == 2
    assert "LEASE_S" in err
    assert not (application / "var").exists()
