import pytest

from tests.unit.servers.sqs.world import opened


@pytest.fixture(params=["memory", "sqlite"])
def world(request):
    with opened(request.param) as world:
        yield world
