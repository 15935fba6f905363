from mulligan.core.delivery import Delivery, Depth, EntryFault, Fault, Outgoing, Queues
from mulligan.core.message import QueueName


def test_depth_total_counts_ready_delayed_and_in_flight():
    assert Depth(ready=1, delayed=20, in_flight=300).total == 321


def test_delivery_is_a_first_receipt_without_a_group_unless_told():
    delivery = Delivery(QueueName("q"), "r1", "id1", b"body", {}, 5.0)

    assert (delivery.receive_count, delivery.group) == (1, None)


def test_outgoing_is_due_at_once_unless_told():
    outgoing = Outgoing(b"body", {})

    assert (outgoing.delay_s, outgoing.group, outgoing.dedup_id) == (0.0, None, None)


def test_entry_faults_are_told_apart_by_what_a_caller_can_do():
    assert EntryFault(Fault.RETRY, "busy") != EntryFault(Fault.REFUSED, "busy")
    assert [fault.value for fault in Fault] == ["retry", "refused", "lease lost"]


def test_queues_are_told_in_the_order_in_which_a_message_may_see_them():
    queues = Queues("p", requests=QueueName("in"), rejects=QueueName("again"), dead=QueueName("end"))

    assert queues.all == ("in", "again", "end")
