import pytest

from mulligan.core.error import ConfigurationError
from mulligan.settings.describe import NAMES, variable
from mulligan.settings.kubernetes import is_service_link, service_links
from mulligan.settings.load import load
from mulligan.settings.model import OTHER_VARIABLES


def links(service: str, port: int, name: str = "") -> dict[str, str]:
    """What Kubernetes sets in each container for a Service, as its documentation has it."""
    head = service.upper().replace("-", "_")
    url = f"tcp://10.0.0.11:{port}"
    return {
        f"{head}_SERVICE_HOST": "10.0.0.11",
        f"{head}_SERVICE_PORT": str(port),
        **({f"{head}_SERVICE_PORT_{name.upper()}": str(port)} if name else {}),
        f"{head}_PORT": url,
        f"{head}_PORT_{port}_TCP": url,
        f"{head}_PORT_{port}_TCP_PROTO": "tcp",
        f"{head}_PORT_{port}_TCP_PORT": str(port),
        f"{head}_PORT_{port}_TCP_ADDR": "10.0.0.11",
    }


SERVICES = {
    **links("mulligan", 80),
    **links("mulligan-postgres", 5432, "postgres"),
    **links("mulligan-health", 8078, "http"),
    **links("mulligan-2", 443, "https"),
    **links("mulligan-sqs-server", 9324),
}


def test_settings_load_in_a_namespace_with_services_that_are_called_mulligan(tmp_path):
    loaded = load(tmp_path, SERVICES | {"MULLIGAN_POOL_SIZE": "2"})

    assert loaded.settings.pool_size == 2
    assert service_links(SERVICES) == tuple(sorted(SERVICES))


@pytest.mark.parametrize("name", [*map(variable, NAMES), *OTHER_VARIABLES])
def test_no_variable_of_ours_looks_like_one_of_kubernetes(name):
    assert not is_service_link(name)


@pytest.mark.parametrize(
    "name",
    [
        "MULLIGAN_PORTS",
        "MULLIGAN_PORT_80",
        "MULLIGAN_PORT_80_HTTP",
        "MULLIGAN_SERVICE_HOSTS",
        "MULLIGAN_SERVICE",
        "PORT",
    ],
)
def test_other_names_are_not_taken_for_one_of_kubernetes(name):
    assert not is_service_link(name)


@pytest.mark.parametrize("name", ["MULLIGAN_FAILPOINTS", "MULLIGAN_DEBUGS", "MULLIGAN_POINT"])
def test_variables_for_tests_are_never_offered_for_an_unknown_one(tmp_path, name):
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path, {name: "1"})

    (problem,) = raised.value.problems
    assert problem.startswith(f"environment variable {name}: there is no such setting.")
    assert "MULLIGAN_FAILPOINT?" not in problem
    assert "MULLIGAN_DEBUG?" not in problem
