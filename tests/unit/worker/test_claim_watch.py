"""Whether a claim surely still holds, by its own time and by what the supervisor has extended."""

from mulligan.worker.claim_watch import ClaimWatch


async def test_claim_holds_until_its_own_time_is_over(watch, clock, make_flight):
    flight = make_flight()
    flight.claimed_until = clock.monotonic() + 10

    assert watch.holds(flight)
    assert watch.holds_at(flight, flight.claimed_until - 0.001)
    assert not watch.holds_at(flight, flight.claimed_until)


async def test_claim_holds_for_as_long_as_the_supervisor_has_extended_it(table, clock, make_flight):
    flight = make_flight()
    flight.claimed_until = clock.monotonic()
    watch = ClaimWatch(table, clock)
    flight.slot = table.put(0, "receipt", flight.message.uid, 0, flight.token, clock.monotonic() + 60)
    before = watch.holds(flight)

    (held,) = table.holdings()
    table.keep(held, clock.monotonic() + 5)

    assert not before
    assert watch.holds(flight)
    assert not watch.holds_at(flight, clock.monotonic() + 5)
